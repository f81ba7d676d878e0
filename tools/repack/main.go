// Command repack turns a disk image into one that stations decode at wire speed. See
// docs/repack.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/openseastack/netboot-imager/internal/board"
	"github.com/openseastack/netboot-imager/internal/repack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "repack:", err)
		os.Exit(1)
	}
}

const usage = `Usage: repack [flags] IMAGE

Turns IMAGE (raw, gzip, xz, zstd or bzip2, whatever its name says) into one that stations
decode on all their cores, proves that the same image comes out, and writes the image's
SHA-256 next to it.

  repack raspios.img.xz                  makes raspios.img.gz and raspios.img.gz.sha256
  repack -replace raspios.img.gz         the same in place of what is there
  repack -format zstd -level best x.img  makes x.img.zst: smaller, but no gzip tool reads it

Flags:
`

// run repacks; how it goes is shown on stderr, the outcome on stdout.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("repack", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		io.WriteString(stderr, usage)
		fs.PrintDefaults()
	}
	var opt repack.Options
	fs.StringVar(&opt.Format, "format", repack.BGZF, "bgzf, which is gzip in blocks, or zstd")
	fs.StringVar((*string)(&opt.Level), "level", string(repack.Normal), "fast, normal or best: how hard to compress")
	fs.StringVar(&opt.Out, "o", "", "`FILE` to write (default: IMAGE with another suffix)")
	fs.BoolVar(&opt.Replace, "replace", false, "replace the file to write if it exists")
	fs.BoolVar(&opt.Force, "force", false, "repack what is no disk image, too")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return fmt.Errorf("give one image, not %d (flags come first); see repack -help", fs.NArg())
	}
	opt.In = fs.Arg(0)

	b := board.New(stderr)
	row := b.Row(opt.In)
	opt.Row = row.Set
	res, err := repack.Repack(ctx, opt)
	if err == nil {
		row.End(board.State{Stage: "done", Fraction: 1})
	} else if context.Cause(ctx) != nil && errors.Is(err, context.Cause(ctx)) {
		err = errors.New("stopped; nothing was changed")
	}
	b.Close()
	if err != nil {
		return err
	}
	if res.NotImage != nil {
		fmt.Fprintf(stderr, "repack: warning: %s; stations write it only with \"force\": true\n", res.NotImage.Why)
	}
	fmt.Fprintf(stdout, "%s: %d bytes (from %d as %s), decoded again and equal to the original\n", res.Out, res.OutSize, res.InSize, res.From)
	fmt.Fprintf(stdout, "%s: sha256 %s of the decompressed image (%d bytes)\n", res.Sum, res.SHA256, res.Size)
	return nil
}
