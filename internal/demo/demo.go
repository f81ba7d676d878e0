// Package demo netboots an emulated Raspberry Pi from a gokrazy build, has it write its
// disk through /write-image, and boots what was written: the whole product in one
// command, without a Raspberry Pi.
package demo

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/lab"
	"github.com/openseastack/netboot-imager/internal/netboot"
)

// token is the demo's shared secret. It guards nothing: the station can be reached
// from this machine alone.
const token = "demo-token-not-secret"

// Config of a demo.
type Config struct {
	// GAF is the gokrazy build of the station.
	GAF string
	// Model is an emupi model that QEMU can run.
	Model string
	// Dir is where the tree, the disk and the logs go; it is made anew.
	Dir string
	// User chooses QEMU's user network even if a network namespace can be had.
	User bool
	// Once ends the demo when the written system is up; otherwise it stays up until ctx
	// ends.
	Once bool
	// Out is where everything is told; Terminal says that it is one.
	Out      io.Writer
	Terminal bool
}

// demo is a running one.
type demo struct {
	Config
	timeline
	net    lab.Network
	pi     *emupi.Pi
	server *lab.NetbootServer
	base   string // URL of the boot server as the station sees it
	image  string // uncompressed

	imageBytes int64 // compressed
}

// Run runs the demo.
func Run(ctx context.Context, cfg Config) (err error) {
	d := &demo{Config: cfg, timeline: timeline{out: cfg.Out, terminal: cfg.Terminal}}
	model, err := emupi.ByName(cfg.Model)
	if err != nil {
		return err
	}
	if !model.Runs() {
		return fmt.Errorf("QEMU cannot run a Raspberry Pi %s; choose 3b or virt-nvme", model.Name)
	}
	if err := os.RemoveAll(d.Dir); err != nil {
		return err
	}
	if d.Dir, err = filepath.Abs(d.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer func() {
		if d.net != nil {
			err = errors.Join(err, d.net.Close())
		}
	}()
	if err := d.setUp(ctx, model); err != nil {
		return err
	}
	vm, err := d.netboot(ctx)
	if err != nil {
		return d.explain(err)
	}
	if err := d.flash(ctx, vm); err != nil {
		return d.explain(err)
	}
	if vm, err = d.bootDisk(ctx, vm); err != nil {
		return d.explain(err)
	}
	return d.stay(ctx, vm)
}

// setUp makes the tree, the network, the boot server, the image and the disk.
func (d *demo) setUp(ctx context.Context, model *emupi.Model) error {
	tree := filepath.Join(d.Dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil { // served before it is filled
		return err
	}
	if err := d.network(ctx, tree); err != nil {
		return err
	}
	ln, err := d.net.Listen(0)
	if err != nil {
		return err
	}
	_, port, err := splitAddr(ln.Addr().String())
	if err != nil {
		return err
	}
	d.base = "http://" + d.net.Server() + ":" + port
	images, err := netboot.OpenGAF(d.GAF)
	if err != nil {
		return err
	}
	defer images.Close()
	d.step("making the tree of %s", d.GAF)
	m, err := netboot.Build(ctx, images, filepath.Join(d.Dir, "made"), netboot.Options{
		Stations: []string{model.Serial}, ConfigURL: d.base + lab.ConfigPath,
	})
	if err != nil {
		return err
	}
	// The directory that is being served stays; its contents come in.
	if err := moveInto(filepath.Join(d.Dir, "made"), tree); err != nil {
		return err
	}
	d.image = filepath.Join(tree, "sdcard.img")
	compressed := filepath.Join(d.Dir, "sdcard.img.gz")
	if err := compressFile(compressed, d.image); err != nil {
		return err
	}
	st, err := os.Stat(compressed)
	if err != nil {
		return err
	}
	d.imageBytes = st.Size()
	d.done("tree made: %.1f MB of kernel and initramfs, and an image of %.1f MB, compressed, to write", float64(m.PayloadBytes)/1e6, float64(d.imageBytes)/1e6)
	d.server = &lab.NetbootServer{
		Config: map[string]any{"allowed_ips": []string{"10.77.0.0/24", "10.0.2.0/24"}, "shared_secret": token},
		Images: map[string]string{"station": compressed},
	}
	go func() { _ = d.server.Serve(ctx, ln) }() // it ends with ctx
	disk := filepath.Join(d.Dir, "disk.img")
	if err := emupi.CreateDisk(model, disk, 64<<20); err != nil {
		return err
	}
	d.pi = &emupi.Pi{Model: model, Net: d.net, Dir: d.Dir, Disks: []string{disk},
		Note: func(s string) { d.note("%s; it is switched off and on again", s) }}
	return nil
}

// network is a namespace if one can be had, and QEMU's user network otherwise.
func (d *demo) network(ctx context.Context, tree string) error {
	if !d.User {
		n, err := lab.NewNamespace(ctx, tree, d.Dir)
		if err == nil {
			d.note("network namespace with dnsmasq (DHCP and TFTP)")
			d.net = n
			return nil
		}
		if os.Getuid() == 0 {
			if _, lookErr := exec.LookPath("dnsmasq"); lookErr != nil {
				return err
			}
		}
		d.note("no network namespace (%v); using QEMU's user network", err)
	}
	u, err := lab.NewUser(tree)
	if err != nil {
		return err
	}
	d.note("QEMU's user network, and a TFTP server on %s", u.TFTPAddr())
	d.net = u
	return nil
}

// netboot turns the Pi on and waits for its imager.
func (d *demo) netboot(ctx context.Context) (*emupi.VM, error) {
	d.step("power on: a Raspberry Pi %s boots from the network", d.pi.Model.Name)
	var total int64
	d.pi.Report = func(r emupi.Request) {
		if r.Bytes > 0 {
			total += r.Bytes
			d.progress("fetched %-40s %9d bytes, %5.1f MB in all", r.Name, r.Bytes, float64(total)/1e6)
		}
	}
	d.pi.Loaded = func(boot *emupi.Boot) {
		d.done("fetched %.1f MB in %d requests", float64(boot.Bytes())/1e6, len(boot.Requests))
		d.step("Linux boots; its console is in %s", filepath.Join(d.Dir, "console.log"))
	}
	vm, _, err := d.pi.Netboot(ctx)
	if err != nil {
		return nil, err
	}
	d.pi.Report, d.pi.Loaded = nil, nil
	h, err := d.healthy(ctx, vm)
	if err != nil {
		return nil, err
	}
	d.done("booted: %s %s answers /health", h.Service, h.Version)
	return vm, nil
}

// healthy waits for the station's imager.
func (d *demo) healthy(ctx context.Context, vm *emupi.VM) (emupi.Health, error) {
	limited, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, errors.New("ten minutes are over"))
	defer cancel()
	return d.pi.Station(8888).WaitHealthy(limited, vm)
}

// flash asks the station to write its disk and to reboot, and follows it.
func (d *demo) flash(ctx context.Context, vm *emupi.VM) error {
	d.step("POST /write-image: %s onto %s", filepath.Base(d.image)+".gz", d.pi.Model.Disk)
	if d.pi.Model.Name == "3b" {
		rate, takes := 0.4, "a minute or two"
		if _, user := d.net.(*lab.User); user {
			rate, takes = 0.1, "five minutes or more (as root, with a faster network, a minute or two)"
		}
		d.note("QEMU's USB network carries about %.1f MB/s, a real Pi's more than ten; this takes %s", rate, takes)
	}
	station := d.pi.Station(8888)
	type answer struct {
		code int
		body []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		code, body, err := station.WriteImage(ctx, token, map[string]any{
			"device": d.pi.Model.Disk, "image_url": d.base + lab.ImagePath + "station", "reboot": true,
		})
		answers <- answer{code, body, err}
	}()
	stage := ""
	for {
		select {
		case a := <-answers:
			if a.err != nil {
				return a.err
			}
			if a.code != http.StatusOK {
				return fmt.Errorf("POST /write-image: %d %s", a.code, bytes.TrimSpace(a.body))
			}
			var ok struct{ Message, Output string }
			if err := json.Unmarshal(a.body, &ok); err != nil {
				return err
			}
			if stage == "writing" { // what came then was too quick to be seen
				d.mark("%s", stageEnd(stage))
			}
			d.done("read back and equal")
			d.note("%s", ok.Message)
			d.note("%s", ok.Output)
			return nil
		case <-time.After(500 * time.Millisecond):
		}
		st, err := station.Status(ctx)
		if err != nil {
			if ended := vm.Ended(); ended != nil {
				return ended
			}
			continue // it may be busy; the answer to the POST decides
		}
		if st.Stage == "idle" || st.Stage == "complete" || st.Stage == "error" {
			continue // the request has not arrived, or its answer is on its way
		}
		if st.Stage != stage && stage != "" {
			d.mark("%s", stageEnd(stage))
		}
		stage = st.Stage
		d.progress("%-8s %5.1f %%  %s", st.Stage, st.Percent, st.Message)
	}
}

// stageEnd is the time line's word for the end of a stage.
func stageEnd(stage string) string {
	switch stage {
	case "checking":
		return "image looked at"
	case "wiping":
		return "disk made unbootable"
	case "writing":
		return "downloaded and written"
	}
	return stage + " ended"
}

// bootDisk waits for the reboot and plays a boot from the disk.
func (d *demo) bootDisk(ctx context.Context, vm *emupi.VM) (*emupi.VM, error) {
	d.step("the station reboots")
	limited, cancel := context.WithTimeoutCause(ctx, 5*time.Minute, errors.New("five minutes are over"))
	defer cancel()
	if err := vm.WaitReset(limited); err != nil {
		return nil, err
	}
	same, err := beginsWith(d.pi.Disks[0], d.image)
	if err != nil {
		return nil, err
	}
	if !same {
		return nil, errors.New("the disk differs from the image")
	}
	d.done("rebooted; the disk equals the image byte for byte")
	d.step("power on: the Pi boots from its disk")
	vm, _, err = d.pi.BootDisk(ctx)
	if err != nil {
		return nil, err
	}
	h, err := d.healthy(ctx, vm)
	if err != nil {
		return nil, err
	}
	d.done("the flashed system is up: %s %s answers /health", h.Service, h.Version)
	return vm, nil
}

// stay keeps the station up and says what to try.
func (d *demo) stay(ctx context.Context, vm *emupi.VM) error {
	d.print()
	if d.Once {
		vm.Kill()
		return nil
	}
	power := d.pi.Keep(ctx, vm, emupi.Disk, emupi.Network)
	defer power.Off()
	addr, err := lab.Forward(ctx, d.net, func() (string, error) { return d.net.StationAddr(d.pi.Model.MAC, 8888) })
	if err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "\nThe station is at http://%s/ until you press Ctrl-C. Try:\n\n", addr)
	fmt.Fprintf(d.Out, "  curl http://%s/health\n", addr)
	fmt.Fprintf(d.Out, "  curl -H 'X-Netboot-Token: %s' -d '{\"device\":\"%s\",\"image_url\":\"%s%sstation\",\"dry_run\":true}' http://%s/write-image\n",
		token, d.pi.Model.Disk, d.base, lab.ImagePath, addr)
	fmt.Fprintf(d.Out, "\nWithout \"dry_run\" it writes the disk again. When it reboots, the Pi boots the disk again.\n")
	select {
	case <-ctx.Done():
		return nil
	case <-power.Done():
		if ctx.Err() != nil {
			return nil
		}
		return d.explain(power.Ended())
	}
}

// explain adds the console's end to an error.
func (d *demo) explain(err error) error {
	b, readErr := os.ReadFile(filepath.Join(d.Dir, "console.log"))
	if readErr != nil {
		return err
	}
	return fmt.Errorf("%w\nThe console's end (all of it is in %s):\n%s", err, filepath.Join(d.Dir, "console.log"), b[max(0, len(b)-1500):])
}

func compressFile(dst, src string) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	zw := gzip.NewWriter(out)
	_, err = io.Copy(zw, in)
	return errors.Join(err, zw.Close(), out.Close())
}
