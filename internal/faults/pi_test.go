package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/lab"
	"github.com/openseastack/netboot-imager/internal/netboot"
)

// hooks are edits of the station that let a test do to it what no request can.
var hooks = []edit{{
	"internal/station/server.go", "	s.router.ServeHTTP(w, r)\n", "	if mutant.Hook(w, r, s.opt.Reboot) {\n		return\n	}\n	s.router.ServeHTTP(w, r)\n",
}}

// serials of the emulated Pis.
var serials = []string{"5f0c1e11b5e4d15b", "00000000b3e4d01a"}

const (
	bootPort  = 38434
	configURL = "http://10.77.0.1:38434" + lab.ConfigPath
)

// stationTree is what the emulated Pis netboot from: the appliance as gok builds it from this
// checkout, with hooks.
var stationTree = sync.OnceValues(func() (string, error) {
	overlay, err := overlay("station", hooks, "testdata/hooks/hooks.go")
	if err != nil {
		return "", err
	}
	instance := filepath.Join(scratch, "instances", "station")
	if err := os.CopyFS(instance, os.DirFS("../../gokrazy-instance")); err != nil {
		return "", err
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	for file, change := range map[string][2]string{
		"config.json":     {"GOFLAGS=", "GOFLAGS=-overlay=" + overlay + " "},
		"builddir/go.mod": {"=> ../..", "=> " + root},
	} {
		path := filepath.Join(instance, file)
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if strings.Count(string(b), change[0]) != 1 {
			return "", fmt.Errorf("%s has not one %q", path, change[0])
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(b), change[0], change[1], 1)), 0o644); err != nil {
			return "", err
		}
	}
	gaf := filepath.Join(scratch, "station.gaf")
	cmd := exec.Command("go", "tool", "gok", "-i", "station", "--parent_dir", filepath.Dir(instance), "overwrite", "--gaf", gaf)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(scratch, "config"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%q: %w\n%s", cmd.Args, err, out)
	}
	im, err := netboot.OpenGAF(gaf)
	if err != nil {
		return "", err
	}
	defer im.Close()
	tree := filepath.Join(scratch, "tree")
	_, err = netboot.Build(context.Background(), im, tree, netboot.Options{Stations: serials, ConfigURL: configURL})
	return tree, err
})

// pi is an emulated Pi on a network of its own, with a disk that has an old system, and an
// image server.
type pi struct {
	*emupi.Pi
	net    *lab.Namespace
	images *flashtest.Server
	image  []byte
	file   string // the disk
	old    []byte
}

// newPi makes an emulated Pi; it is off. data is what the image server has.
func newPi(t testing.TB, model string, diskSize int64, img, data []byte) *pi {
	t.Helper()
	flashtest.NeedRoot(t)
	flashtest.Need(t, "qemu-system-aarch64")
	tree, err := stationTree()
	if err != nil {
		t.Fatal(err)
	}
	m, err := emupi.ByName(model)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(scratch, "pi") // its name goes to QEMU and dnsmasq, which split at commas
	if err != nil {
		t.Fatal(err)
	}
	n, err := lab.NewNamespaceLease(t.Context(), tree, dir, "2m")
	if err != nil {
		t.Fatal(err)
	}
	p := &pi{net: n, Pi: &emupi.Pi{Model: m, Net: n, Dir: dir, Note: func(s string) { t.Log(s) }}, image: img, file: filepath.Join(dir, "disk.img"), old: oldSystem(diskSize)}
	if err := emupi.CreateDisk(m, p.file, diskSize); err != nil {
		t.Fatal(err)
	}
	p.reset(t)
	p.Disks = []string{p.file}
	boot := &lab.NetbootServer{Config: map[string]any{
		"allowed_ips": []string{"10.77.0.0/24"}, "shared_secret": token, "allowed_devices": []string{m.Disk}, "stall_timeout": "10m",
	}}
	bootln, err := n.Listen(bootPort)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error)
	go func() { served <- boot.Serve(ctx, bootln) }()
	ln, err := n.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(dir, "console.log"))
			t.Logf("the console's end:\n%s", b[max(0, len(b)-5000):])
		}
	})
	p.images = flashtest.ServeOn(t, data, ln)
	return p
}

// reset puts the old system on the disk.
func (p *pi) reset(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(p.file, p.old, 0o600); err != nil {
		t.Fatal(err)
	}
}

// on turns it on and waits for the imager.
func (p *pi) on(t testing.TB) *emupi.VM {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Minute, errors.New("twenty minutes are over"))
	defer cancel()
	vm, _, err := p.Netboot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vm.Kill)
	if _, err := p.Station(8888).WaitHealthy(ctx, vm); err != nil {
		t.Fatal(err)
	}
	return vm
}

// end is how a write ended.
type end struct {
	code int
	answer
	err  error // no answer came
	took time.Duration
}

// write asks for the image to be written; the answer comes on the channel.
func (p *pi) write(ctx context.Context, request map[string]any) <-chan end {
	body := map[string]any{"device": p.Model.Disk, "image_url": p.images.URL()}
	for k, v := range request {
		body[k] = v
	}
	ended := make(chan end, 1)
	go func() {
		begin := time.Now()
		code, b, err := p.Station(8888).WriteImage(ctx, token, body)
		e := end{code: code, err: err, took: time.Since(begin)}
		e.raw = string(b)
		if err == nil {
			e.err = json.Unmarshal(b, &e.answer)
		}
		ended <- e
	}()
	return ended
}

// await waits for a moment of the write.
func (p *pi) await(ctx context.Context, moment func(emupi.Status) bool) (emupi.Status, error) {
	for {
		st, err := p.Station(8888).Status(ctx)
		if err == nil && moment(st) {
			return st, nil
		}
		if err == nil && (st.Stage == "error" || st.Stage == "complete") {
			return st, fmt.Errorf("the moment did not come: %+v", st)
		}
		select {
		case <-ctx.Done():
			return st, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// test asks a hook.
func (p *pi) test(ctx context.Context, path string) (string, error) {
	code, b, err := p.Station(8888).Get(ctx, "/test/"+path, time.Minute)
	if err == nil && code != 200 {
		err = fmt.Errorf("/test/%s: %d %s", path, code, b)
	}
	return strings.TrimSpace(string(b)), err
}

// examine says what is on the disk.
func (p *pi) examine(t testing.TB) state {
	t.Helper()
	b, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	return classify(t, p.file, b, p.old, p.image)
}

// partitions are those that the station's own kernel finds on the disk.
func (p *pi) partitions(t testing.TB) int {
	t.Helper()
	code, b, err := p.Station(8888).Get(t.Context(), "/disks", time.Minute)
	var list struct{ Disks []struct{ Partitions []any } }
	if err != nil || code != 200 || json.Unmarshal(b, &list) != nil || len(list.Disks) != 1 {
		t.Fatalf("GET /disks: %d %s (%v)", code, b, err)
	}
	return len(list.Disks[0].Partitions)
}

// blkdebug puts QEMU's error injection in front of the disk: rules in the format of its
// docs/devel/blkdebug.txt.
func (p *pi) blkdebug(t testing.TB, rules string) {
	t.Helper()
	file := filepath.Join(p.Dir, "blkdebug.conf")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Disks = []string{"blkdebug:" + file + ":" + p.file}
}
