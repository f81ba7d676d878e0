package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pin/tftp/v3"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"github.com/openseastack/netboot-imager/internal/bootserver"
	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/openseastack/netboot-imager/internal/dnsmasq"
	"github.com/openseastack/netboot-imager/internal/imagestore"
	"github.com/openseastack/netboot-imager/internal/netboot"
	"github.com/openseastack/netboot-imager/internal/redeploy"
	"github.com/openseastack/netboot-imager/internal/stations"
	"github.com/openseastack/netboot-imager/internal/trees"
)

// daemon is a running netbootd.
type daemon struct {
	// config
	o             serveOptions
	db            *bolt.DB
	images        *imagestore.Store
	allowed       []netip.Prefix
	token         string
	stationConfig json.RawMessage
	ln            net.Listener
	logf          func(string, ...any)

	// state
	library  *trees.Library
	registry *stations.Registry
	server   *bootserver.Server
}

func (d *daemon) run(ctx context.Context) (err error) {
	if d.library, err = trees.Open(d.o.dir); err != nil {
		return err
	}
	if d.registry, err = stations.Open(d.db, time.Now, d.logf); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.registry.Close()) }()
	receipts, err := stations.OpenReceipts(filepath.Join(d.o.dir, "receipts.jsonl"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, receipts.Close()) }()
	if d.o.baseURL == "" {
		if d.o.baseURL, err = d.baseURL(); err != nil {
			return err
		}
	}
	d.o.baseURL = strings.TrimSuffix(d.o.baseURL, "/")
	d.o.tree.ConfigURL = d.o.baseURL + "/api/bootstrap/imager-config"
	if err := d.link(); err != nil {
		return err
	}
	if err := d.seed(ctx); err != nil {
		return err
	}
	passwordFile := d.o.gokPassword
	if passwordFile == "" {
		passwordFile = filepath.Join(d.o.dir, "gok-password")
	}
	password, err := secret(passwordFile, d.logf)
	if err != nil {
		return err
	}
	cert, err := redeploy.OpenCertificate(filepath.Join(d.o.dir, "tls"))
	if err != nil {
		return err
	}
	tlsListener, err := net.Listen("tcp", d.o.tlsListen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s for HTTPS: %w; name another address by --tls-listen", d.o.tlsListen, err)
	}
	defer tlsListener.Close()
	asks := client.New(d.token)
	fleet := redeploy.NewFleet(d.library, d.registry, stations.Rebooter(asks), d.logf)
	gok := redeploy.New(redeploy.Options{
		Dir: filepath.Join(d.o.dir, "incoming"), Password: password, Allowed: d.allowed, Library: d.library, Fleet: fleet,
		Tree: d.o.tree, Served: d.served, Certificate: cert, Logf: d.logf,
	})
	d.server = bootserver.New(bootserver.Options{
		Version: version(), Allowed: d.allowed, Token: d.token, ImagerConfig: d.stationConfig, Images: d.images,
		Stations: d.registry, Receipts: receipts, Trees: d.library, Fleet: fleet, Client: asks,
		Gok: gok, TLSPort: tlsListener.Addr().(*net.TCPAddr).Port, HasTLS: cert.Has,
		BaseURL: d.o.baseURL, KeepEnrolled: d.o.keepEnrolled, Logf: d.logf,
	})
	d.logf("netbootd %s: clients %s, images in %s, stations reach it at %s", version(), d.allowed, d.o.images, d.o.baseURL)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serveHTTP(ctx, d.server, bootserver.Listener(d.ln), d.logf) })
	g.Go(func() error {
		return serveHTTP(ctx, d.server, tls.NewListener(tlsListener, &tls.Config{GetCertificate: cert.Get, MinVersion: tls.VersionTLS12}), d.logf)
	})
	g.Go(func() error { fleet.Run(ctx); return nil })
	if d.o.dhcp.mode != "off" {
		g.Go(func() error { return d.dnsmasq(ctx) })
	}
	return g.Wait()
}

// baseURL is where stations reach the server.
func (d *daemon) baseURL() (string, error) {
	host := "127.0.0.1"
	addr := d.ln.Addr().(*net.TCPAddr)
	switch {
	case d.o.iface != "":
		p, err := interfacePrefix(d.o.iface)
		if err != nil {
			return "", err
		}
		host = p.Addr().String()
	case !addr.IP.IsUnspecified():
		host = addr.IP.String()
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(addr.Port)), nil
}

// link makes the TFTP root say what the list of stations says: the list is what counts, and
// a testboot that a power cut ended is over.
func (d *daemon) link() error {
	names, err := d.library.Enrolled()
	if err != nil {
		return err
	}
	enrolled := map[string]bool{}
	for _, s := range d.registry.List() {
		if s.Enrolled {
			enrolled[s.ID] = true
			if err := d.library.Enrol(s.ID); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		if !enrolled[name] {
			if err := d.library.Retire(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// seed makes the tree of --gaf, unless a tree of a newer build is served.
func (d *daemon) seed(ctx context.Context) error {
	if d.o.gaf == "" {
		return nil
	}
	images, err := netboot.OpenGAF(d.o.gaf)
	if err != nil {
		return err
	}
	defer images.Close()
	init, err := images.RootFile("gokrazy/init")
	if err != nil {
		return fmt.Errorf("%s: %w", d.o.gaf, err)
	}
	build, err := netboot.BuildTimestamp(init)
	if err != nil {
		return fmt.Errorf("%s: %w", d.o.gaf, err)
	}
	if current, ok := d.library.Current(); ok && !newer(build, current.Build) {
		d.logf("%s is not newer than the netboot tree %s that is served", d.o.gaf, current.ID)
		return nil
	}
	o := d.o.tree
	o.Logf = d.logf
	t, err := d.library.Add(ctx, images, o)
	if err != nil {
		return fmt.Errorf("making a netboot tree of %s: %w", d.o.gaf, err)
	}
	if t, err = d.library.Switch(t.ID); err != nil {
		return err
	}
	d.logf("netboot tree %s, built %s, is now served", t.ID, t.Build)
	return nil
}

// newer compares times of builds.
func newer(a, b string) bool {
	x, xerr := time.Parse(time.RFC3339, a)
	y, yerr := time.Parse(time.RFC3339, b)
	return xerr == nil && (yerr != nil || x.After(y))
}

// dnsmasq runs dnsmasq until ctx ends.
func (d *daemon) dnsmasq(ctx context.Context) error {
	c, err := d.o.dhcp.config(d.o.iface, d.library.Root())
	if err != nil {
		return err
	}
	child := &dnsmasq.Child{Config: c, Dir: filepath.Join(d.o.dir, "dnsmasq"), Missing: d.missing, Logf: d.logf}
	return child.Run(ctx)
}

// missing learns of a Pi that asks for what it is not served.
func (d *daemon) missing(path, client string) {
	id, _, ok := strings.Cut(filepath.ToSlash(path), "/")
	if !ok {
		return
	}
	s, err := d.registry.Asked(id)
	var serial *stations.SerialError
	if errors.As(err, &serial) {
		return // another file
	}
	if err != nil {
		d.logf("%v", err)
		return
	}
	if s.Enrolled {
		return // boot loaders ask for files that no tree has
	}
	if d.o.enrolNew && s.Retired.IsZero() {
		if _, err := d.server.Enrol(id); err != nil {
			d.logf("%v", err)
		}
		return
	}
	d.logf("a Raspberry Pi %s at %s asks for boot files and is not enrolled: netbootd enrol %s", id, client, id)
}

// served checks that stations get the current tree, by TFTP where netbootd runs dnsmasq.
func (d *daemon) served(ctx context.Context) error {
	if d.o.dhcp.mode == "off" {
		return nil // the library has read the files back; the server of them is somebody else's
	}
	prefix, err := interfacePrefix(d.o.iface)
	if err != nil {
		return err
	}
	want, err := os.ReadFile(filepath.Join(d.library.Root(), "current", "manifest.json"))
	if err != nil {
		return err
	}
	client, err := tftp.NewClient(net.JoinHostPort(prefix.Addr().String(), "69"))
	if err != nil {
		return err
	}
	client.SetTimeout(3 * time.Second)
	client.SetRetries(10)
	r, err := client.Receive("current/manifest.json", "octet")
	if err != nil {
		return fmt.Errorf("asking dnsmasq by TFTP: %w", err)
	}
	var got bytes.Buffer
	if _, err := r.WriteTo(&got); err != nil {
		return fmt.Errorf("asking dnsmasq by TFTP: %w", err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		return errors.New("dnsmasq serves another tree by TFTP")
	}
	return nil
}
