// Command mknetboot turns a gokrazy build into the tree that Raspberry Pis netboot
// from. See docs/netboot.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mknetboot:", err)
		os.Exit(1)
	}
}

// run builds the tree; what it is doing goes to stderr, the outcome to stdout.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("mknetboot", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var o netboot.Options
	var stations, kernelArgs, configLines multi
	gaf := fs.String("gaf", "", "gokrazy archive `FILE`, from gok overwrite --gaf")
	boot := fs.String("boot", "", "gokrazy boot image `FILE`, in place of -gaf")
	root := fs.String("root", "", "gokrazy root image `FILE`, in place of -gaf")
	out := fs.String("out", "build/netboot", "`DIR` to make, or to replace if it is a tree")
	layout := fs.String("layout", string(netboot.PerSerial), "serial (a directory for each station) or flat (one for all, as in /tftpboot)")
	fs.Var(&stations, "station", "serial `NUMBER` to enrol (may be repeated; not for a flat tree)")
	fs.StringVar(&o.ConfigURL, "config-url", "", "`URL` that the imager fetches its config.json from")
	fs.Var(&kernelArgs, "kernel-arg", "`WORD` to add to the kernel command line (may be repeated)")
	fs.Var(&configLines, "config-line", "`LINE` to add to config.txt (may be repeated)")
	fs.StringVar(&o.SerialConsole, "serial-console", "serial0,115200", "serial console of the kernel, or off")
	fs.BoolVar(&o.BootRAMDisk, "boot-ramdisk", false, "have boot loaders fetch boot.img in place of single files")
	fs.BoolVar(&o.KeepImagerConfig, "keep-imager-config", false, "publish the imager's configuration, with its token, if the gokrazy instance holds one")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	o.Layout = netboot.Layout(*layout)
	o.Stations, o.KernelArgs, o.ConfigLines = stations, kernelArgs, configLines
	o.Logf = func(format string, args ...any) { fmt.Fprintf(stderr, "mknetboot: "+format+"\n", args...) }

	images, err := open(*gaf, *boot, *root)
	if err != nil {
		return err
	}
	defer images.Close()
	m, err := netboot.Build(ctx, images, *out, o)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		fmt.Fprintf(stdout, "%11d  %s/%s\n", f.Bytes, *out, f.Path)
	}
	fmt.Fprintf(stdout, "payload: %d bytes (%.1f MB) of kernel and initramfs, Linux %s\n", m.PayloadBytes, float64(m.PayloadBytes)/1e6, m.Kernel)
	return nil
}

func open(gaf, boot, root string) (*netboot.Images, error) {
	switch {
	case gaf != "" && boot == "" && root == "":
		return netboot.OpenGAF(gaf)
	case gaf == "" && boot != "" && root != "":
		return netboot.OpenImages(boot, root)
	}
	return nil, errors.New("give either -gaf, or -boot and -root")
}

// multi is a flag that may be repeated.
type multi []string

func (m *multi) String() string     { return strings.Join(*m, " ") }
func (m *multi) Set(s string) error { *m = append(*m, s); return nil }
