package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/lab"
	"github.com/openseastack/netboot-imager/internal/netboot"
)

// token is the shared secret of the tests' stations.
const token = "example-token-for-tests"

// shared is what all tests use: a gokrazy build of the station and trees made of it.
var shared struct {
	dir   string
	gaf   func() (string, error) // the station
	hello func() (string, error) // the hello instance, with an imager and its configuration
	mk    func() (string, error) // mknetboot
}

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "netboot-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shared.dir = dir
	shared.gaf = sync.OnceValues(func() (string, error) {
		return gok(dir, "station.gaf", "gokrazy-instance", "../..", "--gaf")
	})
	shared.hello = sync.OnceValues(func() (string, error) {
		return gok(dir, "hello.gaf", "hello", "testdata", "--gaf")
	})
	shared.mk = sync.OnceValues(func() (string, error) {
		path := filepath.Join(dir, "mknetboot")
		if b, err := exec.Command("go", "build", "-o", path, "../../tools/mknetboot").CombinedOutput(); err != nil {
			return "", fmt.Errorf("building mknetboot: %w\n%s", err, b)
		}
		return path, nil
	})
	return m.Run()
}

// gok builds an instance of this checkout. It keeps gok's password file out of the
// user's own configuration.
func gok(dir, out, instance, parent string, args ...string) (string, error) {
	path := filepath.Join(dir, out)
	cmd := exec.Command("go", append([]string{"tool", "gok", "-i", instance, "--parent_dir", parent, "overwrite"}, append(args, path)...)...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"))
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%q: %w\n%s", cmd.Args, err, b)
	}
	return path, nil
}

// need skips the test without root or a program, but fails it in CI.
func need(t *testing.T, programs ...string) {
	t.Helper()
	why := ""
	if os.Getuid() != 0 {
		why = "network namespaces need root"
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			why = p + " is missing: run tools/install-deps.sh test"
		}
	}
	if why == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// tree makes a tree of the station's build.
func tree(t *testing.T, o netboot.Options) (string, *netboot.Manifest) {
	t.Helper()
	gaf, err := shared.gaf()
	if err != nil {
		t.Fatal(err)
	}
	return treeOf(t, []string{"-gaf", gaf}, o)
}

// treeOf runs mknetboot on a gokrazy build that from names, as a program of its own:
// under the race detector compressing a kernel takes ten times as long.
func treeOf(t *testing.T, from []string, o netboot.Options) (string, *netboot.Manifest) {
	t.Helper()
	mknetboot, err := shared.mk()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "tree")
	args := append(slices.Clone(from), "-out", dir, "-config-url", o.ConfigURL)
	if o.Layout != "" {
		args = append(args, "-layout", string(o.Layout))
	}
	if o.SerialConsole != "" {
		args = append(args, "-serial-console", o.SerialConsole)
	}
	if o.BootRAMDisk {
		args = append(args, "-boot-ramdisk")
	}
	if o.KeepImagerConfig {
		args = append(args, "-keep-imager-config")
	}
	for flag, values := range map[string][]string{"-station": o.Stations, "-kernel-arg": o.KernelArgs, "-config-line": o.ConfigLines} {
		for _, v := range values {
			args = append(args, flag, v)
		}
	}
	run(t, mknetboot, args...)
	m, err := netboot.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

// site is a network with a boot server and one emulated Pi.
type site struct {
	*emupi.Pi
	net    *lab.Namespace
	server *lab.NetbootServer
	base   string // URL of the boot server
}

const serverPort = 38434 // pi-netboot-server's

// configURL is where the stations of a site find their configuration.
const configURL = "http://10.77.0.1:38434" + lab.ConfigPath

func newSite(t *testing.T, tree, model string, diskSizes ...int64) *site {
	t.Helper()
	m, err := emupi.ByName(model)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	n, err := lab.NewNamespace(t.Context(), tree, dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{
		net: n,
		Pi:  &emupi.Pi{Model: m, Net: n, Dir: dir, Note: func(s string) { t.Log(s) }},
		server: &lab.NetbootServer{
			Config: map[string]any{"allowed_ips": []string{"10.77.0.0/24"}, "shared_secret": token},
			Images: map[string]string{},
		},
		base: fmt.Sprintf("http://%s:%d", n.Server(), serverPort),
	}
	for i, size := range diskSizes {
		disk := filepath.Join(dir, fmt.Sprintf("disk%d.img", i))
		if err := emupi.CreateDisk(m, disk, size); err != nil {
			t.Fatal(err)
		}
		s.Disks = append(s.Disks, disk)
	}
	ln, err := n.Listen(serverPort)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error)
	go func() { served <- s.server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, log := range []string{"console.log", "dnsmasq.log"} {
				b, _ := os.ReadFile(filepath.Join(dir, log))
				t.Logf("%s, its end:\n%s", log, b[max(0, len(b)-6000):])
			}
		}
	})
	return s
}

// up waits for the imager.
func (s *site) up(t *testing.T, vm *emupi.VM, start time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errTooLong)
	defer cancel()
	h, err := s.Station(8888).WaitHealthy(ctx, vm)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s %s is up %.1f s after power-on", h.Service, h.Version, time.Since(start).Seconds())
}

// write asks for an image to be written and watches until it is done. It returns the
// stages that /status went through.
func (s *site) write(t *testing.T, image string) (stages []string) {
	t.Helper()
	start := time.Now()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	watched := make(chan []string)
	go func() { watched <- s.watch(ctx, t) }()
	code, body, err := s.Station(8888).WriteImage(t.Context(), token, map[string]any{
		"device": s.Model.Disk, "image_url": s.base + lab.ImagePath + image, "netboot_ip": s.net.Server(),
	})
	stop()
	stages = <-watched
	if st, serr := s.Station(8888).Status(t.Context()); serr != nil {
		t.Error(serr)
	} else if len(stages) == 0 || stages[len(stages)-1] != st.Stage {
		stages = append(stages, st.Stage)
	}
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Success bool   `json:"success"`
		Message string `json:"message"`
		Output  string `json:"output"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || code != http.StatusOK || !answer.Success {
		t.Fatalf("POST /write-image = %d %s", code, body)
	}
	t.Logf("%s; %s; %.1f s; stages %s", answer.Message, answer.Output, time.Since(start).Seconds(), strings.Join(stages, " "))
	return stages
}

// watch collects the stages that /events tells, until ctx ends.
func (s *site) watch(ctx context.Context, t *testing.T) (stages []string) {
	err := s.Station(8888).Events(ctx, func(st emupi.Status) {
		if len(stages) == 0 || stages[len(stages)-1] != st.Stage {
			stages = append(stages, st.Stage)
		}
	})
	if err != nil {
		t.Error(err)
	}
	return stages
}
