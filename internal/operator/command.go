// Package operator is the command line for those who flash stations: see docs/flash.md.
package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/spf13/cobra"
)

// Environment is what the command finds around it.
type Environment struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Signals        <-chan os.Signal // Ctrl-C and the like; the command decides what they mean
	Version        string
}

// NotGoodError is returned when a command has done what it could, has said so, and not
// all stations are good.
type NotGoodError struct{ Why string }

func (e *NotGoodError) Error() string { return e.Why }

// app is the state of one run.
type app struct {
	Environment
	stations  []string
	tokenFile string
	json      bool
	answers   chan string // lines of Stdin, once somebody asked for one
}

// Command is the whole command line.
func Command(env Environment) *cobra.Command {
	a := &app{Environment: env}
	root := &cobra.Command{
		Use:   "flash",
		Short: "write images to the disks of netbooted Raspberry Pis, many at once",
		Long: `flash asks stations (Raspberry Pis that run the imager) to write an image to their own
disks, and tells which of them are good: written, read back and equal.

The token is the station's shared_secret. It comes from $NETBOOT_TOKEN or --token-file,
never from an argument, which every user of the machine could read.

The exit status is 0 only if all stations are good.`,
		Version:       env.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	f := root.PersistentFlags()
	f.StringArrayVarP(&a.stations, "station", "s", nil, "stations, as `HOST[:PORT]` separated by commas; may be given several times (default port 8888)")
	f.StringVar(&a.tokenFile, "token-file", "", "`FILE` with the token (default: $NETBOOT_TOKEN)")
	f.BoolVar(&a.json, "json", false, "print one JSON document on standard output")
	_ = root.MarkPersistentFlagFilename("token-file")
	_ = root.RegisterFlagCompletionFunc("station", cobra.NoFileCompletions)
	root.AddCommand(a.writeCommand(), a.statusCommand(), a.watchCommand(), a.disksCommand(), a.cancelCommand(), a.receiptsCommand(), a.discoverCommand())
	return root
}

// targets are the stations that were named.
func (a *app) targets() ([]client.Station, error) {
	list, err := client.ParseStations(a.stations)
	if err == nil && len(list) == 0 {
		err = errors.New("name the stations, like --station 10.0.0.5,10.0.0.6; flash discover finds them")
	}
	return list, err
}

// maxToken is the largest file that is taken for a token, in bytes.
const maxToken = 4096

// token is what the stations want to see.
func (a *app) token() (string, error) {
	token, from := a.Getenv("NETBOOT_TOKEN"), "$NETBOOT_TOKEN"
	if a.tokenFile != "" {
		f, err := os.Open(a.tokenFile)
		if err != nil {
			return "", fmt.Errorf("the token: %w", err)
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
		if err != nil {
			return "", fmt.Errorf("the token: %w", err)
		}
		if len(b) > maxToken {
			return "", fmt.Errorf("%s is larger than %d bytes; it should hold the token and nothing else", a.tokenFile, maxToken)
		}
		token, from = string(b), a.tokenFile
	}
	token = strings.TrimSpace(token)
	if token == "" {
		return "", fmt.Errorf("there is no token in %s; set $NETBOOT_TOKEN, or name a file that holds it by --token-file", from)
	}
	if strings.ContainsFunc(token, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return "", fmt.Errorf("the token in %s has a line break or another control character in it, which no token has", from)
	}
	return token, nil
}

// printJSON prints the document that --json promises.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// interactive reports whether there is somebody to ask.
func (a *app) interactive() bool { return terminal(a.Stdin) && terminal(a.Stderr) }

func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
