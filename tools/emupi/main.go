// Command emupi emulates a Raspberry Pi: it plays the model's boot loader and then runs
// QEMU with the files that it fetched. See docs/netboot.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/mattn/go-isatty"

	"github.com/openseastack/netboot-imager/internal/demo"
	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "emupi:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "demo" {
		return runDemo(ctx, args[1:], stdout, stderr)
	}
	fs := flag.NewFlagSet("emupi", flag.ContinueOnError)
	fs.SetOutput(stderr)
	model := fs.String("model", "3b", "one of "+strings.Join(emupi.Names(), ", "))
	tree := fs.String("tree", "build/netboot", "`DIR` to serve by TFTP on a loopback port")
	server := fs.String("tftp", "", "`HOST:PORT` of a TFTP server to boot from, in place of -tree")
	serial := fs.String("serial", "", "serial `NUMBER` (default: one of the model's own)")
	fetchOnly := fs.Bool("fetch-only", false, "play the boot loader alone")
	disk := fs.String("disk", "", "image `FILE` that is its SD card or NVMe disk; made, with 64 MiB, if it is not there")
	bootOrder := fs.String("boot-order", "network", "network, disk, or both with a comma: what it boots from, also after a reset")
	dir := fs.String("dir", "build/emupi", "`DIR` for the console's log and what QEMU reads")
	memory := fs.Int("memory", 0, "`MIB` of RAM (virt-nvme)")
	ports := []int{8888, 80}
	fs.Func("forward", "`PORT` of the Pi to forward to this machine (may be repeated; 8888 and 80 always are)", func(s string) error {
		port, err := strconv.ParseUint(s, 10, 16)
		if err != nil || port == 0 {
			return errors.New("it must be a number from 1 to 65535")
		}
		if !slices.Contains(ports, int(port)) {
			ports = append(ports, int(port))
		}
		return nil
	})
	appendArgs := fs.String("append", "", "`WORDS` to add to the kernel command line")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	m, err := emupi.ByName(*model)
	if err != nil {
		return err
	}
	order, err := emupi.ParseOrder(*bootOrder)
	if err != nil {
		return err
	}
	if *serial != "" {
		if err := m.SetSerial(*serial); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	report := func(r emupi.Request) {
		switch {
		case !r.Found:
			fmt.Fprintf(stdout, "%-8s  not found  %s\n", r.From, r.Name)
		case r.Probe:
			fmt.Fprintf(stdout, "%-8s       size  %s\n", r.From, r.Name)
		default:
			fmt.Fprintf(stdout, "%-8s %10d  %s\n", r.From, r.Bytes, r.Name)
		}
	}
	if *fetchOnly && *server != "" {
		return fetch(ctx, stdout, m, *server, report)
	}
	n, err := lab.NewUser(*tree, ports...)
	if err != nil {
		return err
	}
	defer n.Close()
	if *server != "" {
		n.UseTFTP(*server)
	}
	if *fetchOnly {
		return fetch(ctx, stdout, m, n.TFTPAddr(), report)
	}
	pi := &emupi.Pi{Model: m, Net: n, Dir: *dir, MemoryMiB: *memory, KernelArgs: strings.Fields(*appendArgs), Report: report,
		Loaded: func(*emupi.Boot) {
			fmt.Fprintf(stdout, "Linux boots; its console is in %s\n", filepath.Join(*dir, "console.log"))
		},
		Note: func(s string) { fmt.Fprintln(stderr, s) }}
	if *disk != "" {
		if err := emupi.CreateDisk(m, *disk, 64<<20); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		pi.Disks = []string{*disk}
	}
	power, _, err := pi.PowerOn(ctx, order...)
	if err != nil {
		return err
	}
	defer power.Off()
	for _, port := range ports {
		addr, err := n.StationAddr(m.MAC, port)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "its port %d is http://%s/\n", port, addr)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-power.Done():
		if ctx.Err() != nil {
			return nil
		}
		return power.Ended()
	}
}

// fetch plays the boot loader alone.
func fetch(ctx context.Context, stdout io.Writer, m *emupi.Model, server string, report func(emupi.Request)) error {
	boot, err := m.Netboot(ctx, server, func(f func() error) error { return f() }, report)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Raspberry Pi %s: %d bytes in %d requests and %.1f s; it has all that it needs to start the kernel\n", m.Name, boot.Bytes(), len(boot.Requests), boot.Took.Seconds())
	return nil
}

func runDemo(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("emupi demo", flag.ContinueOnError)
	fs.SetOutput(stderr)
	cfg := demo.Config{Out: stdout}
	fs.StringVar(&cfg.GAF, "gaf", "build/station.gaf", "gokrazy archive `FILE` of the station")
	fs.StringVar(&cfg.Model, "model", "3b", "3b (SD card) or virt-nvme (NVMe, quick)")
	fs.StringVar(&cfg.Dir, "dir", "build/demo", "`DIR` for the tree, the disk and the logs; made anew")
	fs.BoolVar(&cfg.User, "user", false, "use QEMU's user network even as root")
	fs.BoolVar(&cfg.Once, "once", false, "end when the written system is up")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if f, ok := stdout.(*os.File); ok {
		cfg.Terminal = isatty.IsTerminal(f.Fd())
	}
	return demo.Run(ctx, cfg)
}
