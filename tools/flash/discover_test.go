package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
	networks "github.com/openseastack/netboot-imager/internal/lab"
	"github.com/vishvananda/netlink"
)

// rack is a network of the test's own with an imager on the boot server's machine. Operators
// sit at the switch.
type rack struct {
	*networks.Site
	t   *testing.T
	dir string
}

// TestDiscover has flash find a real imager on a network by what that announces, also one
// that gets its address later; python-zeroconf has to read the same.
func TestDiscover(t *testing.T) {
	flashtest.NeedRoot(t)
	flashtest.Need(t, "dnsmasq")
	dir := t.TempDir()
	site, err := networks.NewSite(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rack{site, t, dir}

	if out, err := r.flash("discover", "--no-scan", "--wait", "1s"); err == nil || !strings.Contains(out, "no station has announced itself") {
		t.Errorf("on an empty network: %v\n%s", err, out)
	}
	// The interface is there, and DHCP has not come yet.
	r.address((*netlink.Handle).AddrDel)
	imager := r.imager("-mdns")
	r.healthy()
	if out, err := r.flash("discover", "--no-scan", "--wait", "1s"); err == nil {
		t.Errorf("found without an address:\n%s", out)
	}
	r.address((*netlink.Handle).AddrAdd)
	var found []struct {
		Address string
		By      string `json:"found_by"`
		Health  struct{ Status string }
		Station struct{ Version string }
		Stage   string
	}
	r.await("flash finds the station", func() (string, bool) {
		out, err := r.flash("discover", "--no-scan", "--json")
		return out, err == nil && json.Unmarshal([]byte(out), &found) == nil
	})
	if len(found) != 1 || found[0].Address != networks.SiteServer+":8888" || found[0].By != "mdns" || found[0].Health.Status != "ok" ||
		found[0].Stage != "idle" || found[0].Station.Version == "" {
		t.Errorf("found %+v", found)
	}
	// A scan finds it, too, and it is listed once.
	out, err := r.flash("discover")
	if err != nil || strings.Count(out, networks.SiteServer+":8888") != 1 {
		t.Errorf("flash discover: %v\n%s", err, out)
	}

	heard := r.zeroconf()
	want := []string{
		"TYPE _netboot-imager._tcp.local.", "PORT 8888", "ADDRESS " + networks.SiteServer, "TXT version=" + found[0].Station.Version,
		"INSTANCE netboot-imager ", "HOST netboot-imager-",
	}
	for _, w := range want {
		if !strings.Contains(heard, w) {
			t.Errorf("python-zeroconf has heard\n%s\nwhich lacks %q", heard, w)
		}
	}
	if strings.Contains(heard, token) {
		t.Errorf("the token is announced:\n%s", heard)
	}

	// It says goodbye.
	if err := imager.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.await("the station is gone", func() (string, bool) {
		heard := r.zeroconf()
		return heard, !strings.Contains(heard, "INSTANCE")
	})
	// Without the flag a machine that is no station announces nothing.
	r.imager()
	r.healthy()
	if out, err := r.flash("discover", "--no-scan"); err == nil {
		t.Errorf("announced unasked:\n%s", out)
	}
	if out, err := r.flash("discover"); err != nil || !strings.Contains(out, networks.SiteServer+":8888") {
		t.Errorf("a scan does not find it: %v\n%s", err, out)
	}
}

// address adds the address of the imager's machine, or deletes it.
func (r *rack) address(change func(*netlink.Handle, netlink.Link, *netlink.Addr) error) {
	r.t.Helper()
	err := r.Server.Do(func() error {
		link, err := netlink.LinkByName(networks.SiteInterface)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(networks.SiteServer + "/24")
		if err != nil {
			return err
		}
		h, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer h.Close()
		return change(h, link, addr)
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// imager starts an imager in the place of the one before.
func (r *rack) imager(flags ...string) *exec.Cmd {
	r.t.Helper()
	disk, config := filepath.Join(r.dir, "disk.img"), filepath.Join(r.dir, "config.json")
	text := fmt.Appendf(nil, `{"allowed_ips": ["10.77.0.0/24", "127.0.0.1"], "shared_secret": %q, "allowed_devices": [%q]}`, token, disk)
	for name, b := range map[string][]byte{disk: make([]byte, 1<<20), config: text} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(r.dir, "imager.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(programs, "imager"), append([]string{"-config", config}, flags...)...)
	cmd.Env = []string{"RUNTIME_DIRECTORY=" + r.dir}
	cmd.Stdout, cmd.Stderr = log, log
	p, err := r.Server.Start(cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		p.Kill()
		if r.t.Failed() {
			b, _ := os.ReadFile(log.Name())
			r.t.Logf("the imager %q:\n%s", flags, b)
		}
	})
	return cmd
}

// healthy waits until the imager serves, on its own machine.
func (r *rack) healthy() {
	r.t.Helper()
	r.await("the imager is up", func() (string, bool) {
		ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8888/health", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		resp, err := networks.Client(r.Server).Do(req)
		if err != nil {
			return err.Error(), false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err == nil && bytes.Contains(text, []byte(`"ok"`))
	})
}

// await asks until the answer is good.
func (r *rack) await(what string, try func() (answer string, good bool)) {
	r.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		answer, good := try()
		if good {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("it does not come to pass that %s; the last answer:\n%s", what, answer)
		}
	}
}

// flash runs flash at the switch, and returns what it printed.
func (r *rack) flash(args ...string) (string, error) {
	return r.run(exec.Command(filepath.Join(programs, "flash"), args...))
}

func (r *rack) run(cmd *exec.Cmd) (string, error) {
	r.t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := r.Switch.Start(cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	<-p.Done
	return out.String(), p.Err()
}

// browse, for Debian's Python, prints what python-zeroconf (python3-zeroconf), which has nothing in
// common with the imager's library, knows of the stations after two seconds.
const browse = `
import socket, sys, time
from zeroconf import ServiceBrowser, Zeroconf
kind = "_netboot-imager._tcp.local."
class Listener:
    names = set()
    def add_service(self, zc, kind, name): self.names.add(name)
    def update_service(self, zc, kind, name): self.names.add(name)
    def remove_service(self, zc, kind, name): self.names.discard(name)
zc = Zeroconf()
listener = Listener()
ServiceBrowser(zc, kind, listener)
time.sleep(2)
for name in list(listener.names):
    info = zc.get_service_info(kind, name, 3000)
    if not info: continue
    print("INSTANCE", name); print("TYPE", info.type); print("HOST", info.server); print("PORT", info.port)
    for a in info.parsed_addresses(): print("ADDRESS", a)
    for k, v in info.properties.items(): print("TXT %s=%s" % (k.decode(), v.decode()))
zc.close()
`

func (r *rack) zeroconf() string {
	r.t.Helper()
	out, err := r.run(exec.Command("/usr/bin/python3", "-c", browse))
	if err != nil {
		r.t.Fatalf("python-zeroconf: %v\n%s", err, out)
	}
	return out
}
