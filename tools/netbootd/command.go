package main

import (
	"io"
	"log"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version of this source tree.
const release = "1.0.0"

// version returns the release, with the revision it was built from if that is known.
func version() string {
	v := release
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				v += "+" + s.Value[:12]
			}
			if s.Key == "vcs.modified" && s.Value == "true" {
				v += ".dirty"
			}
		}
	}
	return v
}

// command is netbootd's command line.
func command(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "netbootd",
		Short:         "serve netbooting Raspberry Pis: their system, their images, their updates",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	logf := log.New(stderr, "", log.LstdFlags|log.LUTC).Printf
	root.AddCommand(serveCommand(logf), stationsCommand(), enrolCommand(), retireCommand(), receiptsCommand(), assignCommand(), unassignCommand(), rollbackCommand(), dnsmasqConfigCommand())
	return root
}
