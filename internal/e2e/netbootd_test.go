package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/lab"
)

// netbootdProgram is netbootd, built once.
var netbootdProgram = sync.OnceValues(func() (string, error) {
	path := filepath.Join(shared.dir, "netbootd")
	if out, err := exec.Command("go", "build", "-o", path, "../../tools/netbootd").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building netbootd: %w\n%s", err, out)
	}
	return path, nil
})

// lan is a site with netbootd on the boot server's machine.
type lan struct {
	*lab.Site
	t     *testing.T
	dir   string // netbootd's
	args  []string
	proc  *lab.Process
	log   string
	token string
}

// newLAN makes the network and its directory, which everybody may read, as dnsmasq, which
// runs as nobody, has to. netbootd is started with args.
func newLAN(t *testing.T, pis int, args ...string) *lan {
	t.Helper()
	need(t, "dnsmasq")
	base, err := os.MkdirTemp("", "netbootd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	site, err := lab.NewSite(t.Context(), base, pis)
	if err != nil {
		t.Fatal(err)
	}
	l := &lan{Site: site, t: t, dir: filepath.Join(base, "netbootd"), args: args, log: filepath.Join(base, "netbootd.log")}
	t.Cleanup(func() {
		if err := site.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			b, _ := os.ReadFile(l.log)
			t.Logf("netbootd's log, its end:\n%s", b[max(0, len(b)-12000):])
		}
	})
	l.start()
	return l
}

// start starts netbootd and waits until it serves.
func (l *lan) start() {
	l.t.Helper()
	program, err := netbootdProgram()
	if err != nil {
		l.t.Fatal(err)
	}
	log, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"serve", "--dir", l.dir, "--interface", lab.SiteInterface}, l.args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if l.proc, err = l.Server.Start(cmd); err != nil {
		l.t.Fatal(err)
	}
	l.waitLog(from, "TFTP root is", patience)
	b, err := os.ReadFile(filepath.Join(l.dir, "token"))
	if err != nil {
		l.t.Fatal(err)
	}
	l.token = strings.TrimSpace(string(b))
}

// waitLog waits until netbootd has said text behind byte from of its log.
func (l *lan) waitLog(from int64, text string, patience time.Duration) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		b, err := os.ReadFile(l.log)
		if err != nil {
			l.t.Fatal(err)
		}
		if bytes.Contains(b[min(from, int64(len(b))):], []byte(text)) {
			return
		}
		select {
		case <-l.proc.Done:
			l.t.Fatalf("netbootd ended (%v) before it said %q", l.proc.Err(), text)
		default:
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("netbootd did not say %q within %v", text, patience)
		}
	}
}

// command runs one of netbootd's commands beside it.
func (l *lan) command(args ...string) string {
	l.t.Helper()
	program, err := netbootdProgram()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(program, append(args, "--dir", l.dir)...)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	p, err := l.Server.Start(cmd)
	if err != nil {
		l.t.Fatal(err)
	}
	<-p.Done
	if p.Err() != nil {
		l.t.Fatalf("netbootd %q: %v\n%s", args, p.Err(), out)
	}
	return out.String()
}

// ask sends a request to netbootd from among the Pis; with the token if it is not a GET.
func (l *lan) ask(ctx context.Context, method, path string, body io.Reader, out any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://%s:%d%s", lab.SiteServer, serverPort, path), body)
	if err != nil {
		return 0, err
	}
	if method != http.MethodGet {
		req.Header.Set("X-Netboot-Token", l.token)
	}
	resp, err := lab.Client(l.Switch).Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			return resp.StatusCode, fmt.Errorf("%s %s: %w: %s", method, path, err, b)
		}
	}
	return resp.StatusCode, nil
}

func model(t *testing.T, name string) *emupi.Model {
	t.Helper()
	m, err := emupi.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDHCP has netbootd's dnsmasq beside a router's. Boot loaders learn their address from
// the router and their server from netbootd; others get no answer from netbootd.
func TestDHCP(t *testing.T) {
	t.Parallel()
	gaf, err := shared.gaf()
	if err != nil {
		t.Fatal(err)
	}
	l := newLAN(t, 0, "--gaf", gaf)
	for _, name := range []string{"3b", "3b+", "4b", "cm4", "5", "cm5"} {
		m := model(t, name)
		o, err := m.Discover(t.Context(), "br0", l.Switch.Do, patience)
		if err != nil {
			t.Errorf("Pi %s: %v", name, err)
			continue
		}
		if o.TFTP.String() != lab.SiteServer || !strings.HasPrefix(o.Addr.String(), "10.77.0.1") {
			t.Errorf("Pi %s: %+v, want an address from the router and %s as the server", name, o, lab.SiteServer)
		}
	}
	o, err := emupi.DiscoverOther(t.Context(), "br0", l.Switch.Do, 12*time.Second)
	var none *emupi.NoOfferError
	if !errors.As(err, &none) || len(o.Servers) == 0 {
		t.Fatalf("a PC: %+v, %v, want an answer from the router and no boot server", o, err)
	}
	for _, s := range o.Servers {
		if s.String() != lab.SiteRouter {
			t.Errorf("a PC was answered by %s", s)
		}
	}

	// Nobody is enrolled: every model is refused at once, and netbootd says who asked.
	for _, name := range []string{"3b", "4b", "5"} {
		_, err := model(t, name).Netboot(t.Context(), lab.SiteServer+":69", l.Switch.Do, nil)
		var noBoot *emupi.NoBootError
		if !errors.As(err, &noBoot) {
			t.Errorf("Pi %s that is not enrolled: %v", name, err)
		}
	}
	l.waitLog(0, "netbootd enrol b4e4d04a", patience)
	if got := l.command("stations"); !strings.Contains(got, "b4e4d04a  unknown") {
		t.Errorf("stations:\n%s", got)
	}
	for _, name := range []string{"3b", "4b", "5"} {
		m := model(t, name)
		l.command("enrol", m.Serial)
		boot, err := m.Netboot(t.Context(), lab.SiteServer+":69", l.Switch.Do, nil)
		if err != nil || len(boot.Kernel) < 10<<20 || len(boot.Initramfs) == 0 {
			t.Errorf("Pi %s, enrolled: %v", name, err)
		}
		l.command("de-enrol", m.Serial)
		var noBoot *emupi.NoBootError
		if _, err := m.Netboot(t.Context(), lab.SiteServer+":69", l.Switch.Do, nil); !errors.As(err, &noBoot) {
			t.Errorf("Pi %s, taken out: %v", name, err)
		}
	}
}

// TestDHCPFull has netbootd's dnsmasq give addresses out, to Raspberry Pis alone.
func TestDHCPFull(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 0, "--dhcp", "full", "--range", "10.77.0.50,10.77.0.60", "--router", lab.SiteRouter)
	l.RouterOff()
	for _, name := range []string{"3b", "4b", "5"} {
		o, err := model(t, name).Discover(t.Context(), "br0", l.Switch.Do, patience)
		if err != nil || o.TFTP.String() != lab.SiteServer || len(o.Servers) == 0 || o.Servers[0].String() != lab.SiteServer {
			t.Errorf("Pi %s: %+v, %v, want everything from %s", name, o, err, lab.SiteServer)
		}
		if a := o.Addr.As4(); a[3] < 50 || a[3] > 60 {
			t.Errorf("Pi %s: address %s is not of the range", name, o.Addr)
		}
	}
	o, err := emupi.DiscoverOther(t.Context(), "br0", l.Switch.Do, 12*time.Second)
	var none *emupi.NoOfferError
	if !errors.As(err, &none) || len(o.Servers) != 0 {
		t.Errorf("a PC: %+v, %v, want no answer at all", o, err)
	}
}
