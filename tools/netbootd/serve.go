package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	bolt "go.etcd.io/bbolt"

	"github.com/openseastack/netboot-imager/internal/bootserver"
	"github.com/openseastack/netboot-imager/internal/imagestore"
	"github.com/openseastack/netboot-imager/internal/netboot"
)

// serveOptions are the flags of netbootd serve.
type serveOptions struct {
	dir          string
	listen       string
	iface        string
	allow        []string
	images       string
	imagerConfig string

	gaf         string
	baseURL     string
	gokPassword string // file
	tlsListen   string
	tree        netboot.Options

	dhcp         dhcpOptions
	enrolNew     bool
	keepEnrolled bool
}

func serveCommand(logf func(string, ...any)) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "serve until stopped",
		Example: `  netbootd serve --interface eth0                  # beside a DHCP server that is there already
  netbootd serve --interface eth0 --gaf build/station.gaf
  netbootd serve --interface eth1 --dhcp full --range 192.168.50.10,192.168.50.200`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), o, logf) },
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", defaultDir, "`DIRECTORY` with everything netbootd keeps")
	f.StringVar(&o.listen, "listen", fmt.Sprintf(":%d", bootserver.Port), "`ADDRESS` to serve HTTP on, HOST:PORT")
	f.StringVar(&o.iface, "interface", "", "network `INTERFACE` that the Pis are on")
	f.StringSliceVar(&o.allow, "allow", nil, "`PREFIX` of clients' addresses (may be repeated; default: that of --interface; this machine always may)")
	f.StringVar(&o.images, "images", "", "`DIRECTORY` of images (default: images in --dir)")
	f.StringVar(&o.imagerConfig, "imager-config", "", "`FILE` with further keys of the config.json that stations fetch")
	f.StringVar(&o.gaf, "gaf", "", "gokrazy archive `FILE` to serve, if no newer build is there; gok update brings others")
	f.StringVar(&o.baseURL, "base-url", "", "`URL` at which stations reach this server (default: the address of --interface and the port of --listen)")
	f.StringVar(&o.gokPassword, "gok-password-file", "", "`FILE` with the password for gok update (default: gok-password in --dir)")
	f.StringVar(&o.tlsListen, "tls-listen", ":38443", "`ADDRESS` to serve gok on by HTTPS, once gok has sent a certificate")
	f.StringArrayVar(&o.tree.KernelArgs, "kernel-arg", nil, "`WORD` to add to the stations' kernel command line (may be repeated)")
	f.StringArrayVar(&o.tree.ConfigLines, "config-line", nil, "`LINE` to add to config.txt (may be repeated)")
	f.StringVar(&o.tree.SerialConsole, "serial-console", "serial0,115200", "serial console of the stations' kernel, or off")
	f.BoolVar(&o.tree.BootRAMDisk, "boot-ramdisk", false, "have boot loaders fetch boot.img in place of single files")
	f.BoolVar(&o.tree.KeepImagerConfig, "keep-imager-config", false, "publish the imager's configuration, with its token, if the gokrazy instance holds one")
	f.BoolVar(&o.enrolNew, "enrol-new", false, "enrol every Raspberry Pi that asks and was never taken out")
	f.BoolVar(&o.keepEnrolled, "keep-enrolled", false, "leave a Pi enrolled that has written its disk")
	o.dhcp.register(f)
	return cmd
}

// defaultDir is where netbootd keeps everything unless told otherwise.
const defaultDir = "/var/lib/netbootd"

func serve(ctx context.Context, o serveOptions, logf func(string, ...any)) (err error) {
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	allowed, err := o.allowed()
	if err != nil {
		return err
	}
	token, err := secret(filepath.Join(o.dir, "token"), logf)
	if err != nil {
		return err
	}
	stationConfig, imager, err := imagerConfig(o.imagerConfig, allowed, token)
	if err != nil {
		return err
	}
	for _, w := range imager.Warnings {
		logf("warning: %s", w)
	}
	ln, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w; is another netbootd running?", o.listen, err)
	}
	defer ln.Close()
	db, err := bolt.Open(filepath.Join(o.dir, "netbootd.db"), 0o600, &bolt.Options{Timeout: 2 * time.Second})
	if err != nil {
		return fmt.Errorf("opening %s: %w; is another netbootd running?", filepath.Join(o.dir, "netbootd.db"), err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if o.images == "" {
		o.images = filepath.Join(o.dir, "images")
	}
	images, err := imagestore.Open(o.images, db, logf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	d := &daemon{o: o, db: db, images: images, allowed: allowed, token: imager.SharedSecret, stationConfig: stationConfig, ln: ln, logf: logf}
	return d.run(ctx)
}

// allowed are the prefixes of clients' addresses.
func (o *serveOptions) allowed() ([]netip.Prefix, error) {
	prefixes := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, s := range o.allow {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, fmt.Errorf("--allow %q is neither an address nor a prefix; write it like 192.168.1.0/24", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		prefixes = append(prefixes, p.Masked())
	}
	if o.iface != "" && len(o.allow) == 0 {
		p, err := interfacePrefix(o.iface)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes, nil
}

// serveHTTP serves on ln until ctx ends; downloads that are running then are cut off, and
// go on when there is a server again.
func serveHTTP(ctx context.Context, h http.Handler, ln net.Listener, logf func(string, ...any)) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		// "OPTIONS *" is answered like everything else.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(logWriter(logf), "", 0),
		BaseContext:                  func(net.Listener) context.Context { return ctx },
		// No ReadTimeout and WriteTimeout: up- and downloads take as long as they take. The
		// handlers set deadlines of their own.
	}
	logf("serving on %s", ln.Addr())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if server.Shutdown(flush) != nil {
		server.Close()
	}
	<-failed
	logf("stopped")
	return nil
}

// logWriter makes net/http's complaints lines of the log.
type logWriter func(format string, args ...any)

func (w logWriter) Write(b []byte) (int, error) {
	w("http: %s", strings.TrimSpace(string(b)))
	return len(b), nil
}
