package operator

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/spf13/cobra"
)

// writeOptions are the flags of flash write.
type writeOptions struct {
	image, device, sha256         string
	noVerify, dryRun, reboot, yes bool
	parallel                      int
	patience                      time.Duration
	serveAddress                  string
}

func (a *app) writeCommand() *cobra.Command {
	var opt writeOptions
	cmd := &cobra.Command{
		Use:   "write --station HOST,… --image URL|FILE",
		Short: "write an image to many stations at once",
		Long: `write has each station write the image to its disk, shows how it goes, and says at the end
which stations are good, which are not, why, and what to do.

A FILE is served by this command itself, for the time it takes, at the address of this
machine that reaches the station. Stations take images only from allowed_ips and image_hosts
of their configuration, so one of them must name this machine.

Before anything is erased the disks are named and you are asked; --yes answers that.

Ctrl-C asks what to do with the writes that run. Without a terminal they are left running.`,
		Example: `  export NETBOOT_TOKEN=fake-token
  flash write --station 10.0.0.5,10.0.0.6 --image http://10.0.0.1:38434/api/images/download/raspios
  flash write --station 10.0.0.5 --image ./raspios.img.xz --device /dev/nvme0n1 --reboot
  flash write --station 10.0.0.5 --image ./raspios.img.xz --dry-run
  flash write --yes --json --token-file /etc/flash.token --station rack1,rack2 --image ./os.img.gz >result.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.write(cmd.Context(), opt) },
	}
	f := cmd.Flags()
	f.StringVarP(&opt.image, "image", "i", "", "`URL` of the image (http or https), or a file of this machine")
	f.StringVarP(&opt.device, "device", "d", "", "`DISK` to write, like /dev/nvme0n1 (default: the first that the station allows)")
	f.StringVar(&opt.sha256, "sha256", "", "SHA-256 (`HEX`) that the decompressed image must have")
	f.BoolVar(&opt.noVerify, "no-verify", false, "do not read the disk back")
	f.BoolVar(&opt.dryRun, "dry-run", false, "do every check, write nothing")
	f.BoolVar(&opt.reboot, "reboot", false, "reboot each station that is good")
	f.BoolVarP(&opt.yes, "yes", "y", false, "erase without asking")
	f.IntVar(&opt.parallel, "parallel", 16, "how many stations write at the same time (`N`)")
	f.DurationVar(&opt.patience, "patience", 5*time.Minute, "how long a station may be out of reach during its write")
	f.StringVar(&opt.serveAddress, "serve-address", "", "`HOST[:PORT]` of this machine that stations fetch a FILE from (default: the address that reaches them)")
	_ = cmd.MarkFlagRequired("image")
	for _, name := range []string{"device", "sha256", "parallel", "patience", "serve-address"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

// check refuses flags that make no sense, before a station is asked.
func (o *writeOptions) check() error {
	if b, err := hex.DecodeString(o.sha256); o.sha256 != "" && (err != nil || len(b) != 32) {
		return errors.New("--sha256 must be 64 hex digits: the SHA-256 of the decompressed image")
	}
	if o.parallel < 1 {
		return errors.New("--parallel must be 1 at least")
	}
	if o.dryRun && o.reboot {
		return errors.New("--dry-run and --reboot do not go together")
	}
	return nil
}

// isURL reports whether an image is somewhere else than in a file.
func isURL(image string) bool {
	scheme, _, ok := strings.Cut(image, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// write is flash write.
func (a *app) write(ctx context.Context, opt writeOptions) error {
	if err := opt.check(); err != nil {
		return err
	}
	stations, err := a.targets()
	if err != nil {
		return err
	}
	token, err := a.token()
	if err != nil {
		return err
	}
	f := &fleet{app: a, opt: opt, client: client.New(token)}
	if !isURL(opt.image) {
		if f.local, err = openImage(ctx, opt.image, opt.serveAddress); err != nil {
			return err
		}
		defer f.local.close()
	}
	if err := f.look(ctx, stations); err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	if err := f.confirm(ctx); err != nil {
		return err
	}
	f.run(ctx)
	return f.report()
}

// confirm names the disks that will be erased, and asks.
func (f *fleet) confirm(ctx context.Context) error {
	var ready, not [][]string
	for _, t := range f.tasks {
		if t.Result != "" {
			not = append(not, []string{"  " + t.station.Name, t.Error})
			continue
		}
		ready = append(ready, append([]string{"  " + t.station.Name, machine(t.facts)}, diskCells(t.disk)...))
	}
	w := f.Stderr
	if len(not) > 0 {
		fmt.Fprintf(w, "%s cannot be written:\n", count(len(not), "station"))
		table(w, not)
	}
	if len(ready) == 0 {
		return nil // the report says it all
	}
	if f.opt.dryRun {
		return nil
	}
	what := f.opt.image
	if f.local != nil {
		what += " (" + size(f.local.size) + ", from this machine)"
	}
	fmt.Fprintf(w, "%s will be ERASED and written with %s:\n", count(len(ready), "disk"), clean(what))
	table(w, ready)
	if f.opt.yes {
		return nil
	}
	if !f.interactive() {
		return errors.New("nothing was written: there is no terminal to ask on; add --yes if these are the right disks")
	}
	fmt.Fprintf(w, "Type yes to erase %s: ", map[bool]string{true: "it", false: "them all"}[len(ready) == 1])
	switch line, err := f.answer(ctx); {
	case err != nil:
		fmt.Fprintln(w)
		return fmt.Errorf("nothing was written: %w", err)
	case line != "yes":
		return errors.New("nothing was written: the answer was not yes")
	}
	return nil
}

// machine names a station's hardware.
func machine(f client.Facts) string {
	name := f.Model
	if name == "" {
		name = "unknown model"
	}
	if f.Serial != "" {
		name += ", serial " + f.Serial
	}
	return name
}
