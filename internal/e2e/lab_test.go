package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/lab"
)

// patience is how long a test waits for anything: far longer than it takes on a busy
// machine, where it takes ten times as long as on an idle one.
const patience = 10 * time.Minute

var errTooLong = fmt.Errorf("%v are over", patience)

// labStation is an emulated Pi of the lab.
type labStation struct {
	*emupi.Pi
	id string
	vm *emupi.VM
}

// labTest is the whole of netbootd in one network.
type labTest struct {
	*lan
	t        *testing.T
	begin    time.Time
	instance string // parent directory of a gokrazy instance that updates netbootd
}

func (l *labTest) note(format string, args ...any) {
	l.t.Helper()
	l.t.Logf("%6.1f s  %s", time.Since(l.begin).Seconds(), fmt.Sprintf(format, args...))
}

// station makes Pi number i, with an empty disk.
func (l *labTest) station(i int) *labStation {
	l.t.Helper()
	m := model(l.t, "virt-nvme")
	if err := m.SetSerial(fmt.Sprintf("5f0c1e11b5e4d1%02x", 0x60+i)); err != nil {
		l.t.Fatal(err)
	}
	m.MAC = fmt.Sprintf("2c:cf:67:e4:d1:%02x", 0x60+i)
	dir := l.t.TempDir()
	disk := filepath.Join(dir, "disk.img")
	if err := emupi.CreateDisk(m, disk, 256<<20); err != nil {
		l.t.Fatal(err)
	}
	s := &labStation{id: strings.TrimSuffix(m.Prefix(), "/")}
	s.Pi = &emupi.Pi{Model: m, Net: l.Port(i, lab.SiteServer+":69"), Dir: dir, Disks: []string{disk}, MemoryMiB: 512, Note: func(s string) { l.t.Log(s) }}
	l.t.Cleanup(func() {
		if l.t.Failed() {
			b, _ := os.ReadFile(filepath.Join(dir, "console.log"))
			l.t.Logf("console of %s, its end:\n%s", s.id, b[max(0, len(b)-3000):])
		}
	})
	return s
}

// netboot turns a station on: DHCP, TFTP, Linux.
func (l *labTest) netboot(s *labStation) error {
	l.t.Helper()
	o, err := s.Model.Discover(l.t.Context(), "br0", l.Switch.Do, patience)
	if err != nil {
		return err
	}
	if o.TFTP.String() != lab.SiteServer {
		l.t.Errorf("%s was sent to %s for its boot files", s.id, o.TFTP)
	}
	s.vm, _, err = s.Netboot(l.t.Context())
	return err
}

// view is what netbootd tells of a station.
type view struct {
	ID       string          `json:"id"`
	State    string          `json:"state"`
	Enrolled bool            `json:"enrolled"`
	Current  bool            `json:"current"`
	Build    string          `json:"build"`
	BootID   string          `json:"boot_id"`
	Address  string          `json:"address"`
	Status   json.RawMessage `json:"status"`
}

// wait waits until netbootd tells of a station what ok wants.
func (l *labTest) wait(s *labStation, what string, ok func(view) bool) (v view) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		code, err := l.ask(l.t.Context(), "GET", "/api/stations/"+s.id, nil, &v)
		if err == nil && code == 200 && ok(v) {
			l.note("%s: %s (%s, built %s)", s.id, what, v.State, v.Build)
			return v
		}
		if s.vm != nil {
			if err := s.vm.Ended(); err != nil {
				l.t.Fatalf("waiting for %s to be %s: %v", s.id, what, err)
			}
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s is not %s: %d %v %+v", s.id, what, code, err, v)
		}
	}
}

// trickle serves an image slowly until released.
type trickle struct {
	image []byte
	begun chan struct{}
	once  sync.Once
	fast  chan struct{} // closed to release
}

func (tr *trickle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, &slowReader{ReadSeeker: bytes.NewReader(tr.image), tr: tr, ctx: r.Context()})
}

type slowReader struct {
	io.ReadSeeker
	tr  *trickle
	n   int
	ctx context.Context
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.n > 8<<20 {
		s.tr.once.Do(func() { close(s.tr.begun) })
		select {
		case <-s.tr.fast:
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		case <-time.After(200 * time.Millisecond):
			p = p[:min(len(p), 16<<10)] // it lasts for longer than gok, and never stalls
		}
	}
	n, err := s.ReadSeeker.Read(p)
	s.n += n
	return n, err
}

// TestLab is netbootd with a router's DHCP server beside it and two stations.
func TestLab(t *testing.T) {
	t.Parallel()
	need(t, "qemu-system-aarch64", "dnsmasq")
	gaf, err := shared.gaf()
	if err != nil {
		t.Fatal(err)
	}
	l := &labTest{t: t, begin: time.Now()}
	l.lan = newLAN(t, 2, "--gaf", gaf)
	l.note("netbootd serves, with dnsmasq in proxy mode beside the router's")

	card := readFile(t, filepath.Join(l.dir, "tftp/current/sdcard.img"))
	l.cutInUpload(card)

	a, b := l.station(0), l.station(1)
	for _, s := range []*labStation{a, b} {
		l.command("enrol", s.Model.Serial)
		if err := l.netboot(s); err != nil {
			t.Fatal(err)
		}
		l.note("%s has fetched its system; Linux boots", s.id)
	}
	for _, s := range []*labStation{a, b} {
		l.wait(s, "announced and current", func(v view) bool { return v.State == "idle" && v.Current && v.Enrolled })
	}
	l.flashAndLeave(b)
	l.updateDuringWrite(a, b, card)
	l.rollBack(a)
	l.testboot(a)
	l.assigned(a, card)
}

// cutInUpload kills netbootd in the middle of an upload: what was served is served, and the
// upload goes on.
func (l *labTest) cutInUpload(card []byte) {
	t := l.t
	t.Helper()
	addr := net.JoinHostPort(lab.SiteServer, strconv.Itoa(serverPort))
	var conn net.Conn
	err := l.Switch.Do(func() (err error) { conn, err = net.Dial("tcp", addr); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /api/images/card.img HTTP/1.1\r\nHost: x\r\nX-Netboot-Token: %s\r\nContent-Length: %d\r\n\r\n", l.token, len(card))
	if _, err := conn.Write(card[:len(card)/2]); err != nil {
		t.Fatal(err)
	}
	l.proc.Kill()
	l.note("netbootd was killed with %d of %d bytes of an upload sent", len(card)/2, len(card))
	l.start()
	var list struct{ Images []struct{ Name string } }
	if code, err := l.ask(t.Context(), "GET", "/api/images", nil, &list); err != nil || code != 200 || len(list.Images) != 0 {
		t.Fatalf("after the cut: %d %v, images %+v, want none", code, err, list.Images)
	}
	var up struct{ Have, Total int64 }
	if _, err := l.ask(t.Context(), "GET", "/api/uploads/card.img", nil, &up); err != nil {
		t.Fatal(err)
	}
	// What had been made durable is not sent again.
	req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+addr+"/api/images/card.img", bytes.NewReader(card[up.Have:]))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Netboot-Token", l.token)
	req.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", up.Have, len(card)-1, len(card)))
	resp, err := lab.Client(l.Switch).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("the rest of the upload: %d %s", resp.StatusCode, body)
	}
	l.note("the upload went on at byte %d and is whole", up.Have)
}

// flashAndLeave has a station write its disk: it leaves netboot and boots that.
func (l *labTest) flashAndLeave(s *labStation) {
	t := l.t
	t.Helper()
	v := l.wait(s, "ready", func(v view) bool { return v.State == "idle" })
	var answer struct {
		Success bool
		Output  string
		Error   string
	}
	code, err := l.ask(t.Context(), "POST", "/api/devices/"+v.Address+"/write-disk",
		strings.NewReader(`{"device": "/dev/nvme0n1", "image": "card", "reboot": true}`), &answer)
	if err != nil || code != 200 || !answer.Success {
		t.Fatalf("write-disk: %d %v %+v", code, err, answer)
	}
	l.note("%s has written: %s", s.id, answer.Output)
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errTooLong)
	defer cancel()
	if err := s.vm.WaitReset(ctx); err != nil {
		t.Fatal(err)
	}
	l.note("%s reboots", s.id)
	s.vm = nil
	l.wait(s, "taken out", func(v view) bool { return !v.Enrolled })
	start := time.Now()
	var noBoot *emupi.NoBootError
	if err := l.netboot(s); !errors.As(err, &noBoot) {
		t.Fatalf("%s netboots: %v, want it refused", s.id, err)
	}
	l.note("%s was refused within %.1f s: %v", s.id, time.Since(start).Seconds(), noBoot)
	vm, boot, err := s.BootDisk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.vm = vm
	for _, r := range boot.Requests {
		if r.From == "tftp" {
			t.Errorf("%s fetched %s by TFTP", s.id, r.Name)
		}
	}
	if _, err := s.Station(8888).WaitHealthy(ctx, vm); err != nil {
		t.Fatal(err)
	}
	l.note("%s is up from its disk", s.id)
	vm.Kill()
	s.vm = nil
	if out := l.command("receipts", "--station", s.id); !strings.Contains(out, "/card") {
		t.Errorf("receipts:\n%s", out)
	}
}

// updateDuringWrite runs gok update while a station writes.
func (l *labTest) updateDuringWrite(s, gone *labStation, card []byte) {
	t := l.t
	t.Helper()
	v := l.wait(s, "ready", func(v view) bool { return v.State == "idle" })
	tr := &trickle{image: card, begun: make(chan struct{}), fast: make(chan struct{})}
	var ln net.Listener
	err := l.Switch.Do(func() (err error) { ln, err = net.Listen("tcp4", "10.77.0.2:0"); return err })
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: tr}
	go srv.Serve(ln)
	defer srv.Close()
	written := make(chan error, 1)
	go func() {
		var answer struct{ Output, Error string }
		// Not read back, so that the station goes on netbooting.
		code, err := l.ask(t.Context(), "POST", "/api/devices/"+v.Address+"/write-disk",
			strings.NewReader(fmt.Sprintf(`{"device": "/dev/nvme0n1", "image_url": "http://%s/card", "verify": false}`, ln.Addr())), &answer)
		if err == nil && code != 200 {
			err = fmt.Errorf("%d %s", code, answer.Error)
		}
		written <- err
	}()
	select {
	case <-tr.begun:
	case err := <-written:
		t.Fatalf("the write ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the write does not begin")
	}
	l.note("%s is writing", s.id)

	password := strings.TrimSpace(string(readFile(t, filepath.Join(l.dir, "gok-password"))))
	l.instance = gokInstance(t, map[string]any{"Update": map[string]string{"Hostname": lab.SiteServer, "HTTPPort": fmt.Sprint(serverPort), "HTTPPassword": password}})
	u := gokUpdate(l.instance)
	p, err := l.Switch.Start(u.cmd)
	if err != nil {
		t.Fatal(err)
	}
	from := int64(len(readFile(t, l.log)))
	l.note("$ go tool gok -i netboot-imager --parent_dir … update")
	l.waitLog(from, "is now served", patience)
	l.note("the new tree is served")
	// The station is left alone: it still writes, in the boot that it began in.
	busy := l.wait(s, "still writing", func(view) bool { return true })
	if busy.BootID != v.BootID || busy.State != "writing" {
		t.Errorf("%+v, want it writing, in the boot %s", busy, v.BootID)
	}
	select {
	case <-p.Done:
		t.Fatalf("gok ended before a station ran the new system: %v\n%s", p.Err(), u.out)
	case err := <-written:
		t.Fatalf("the write ended early: %v", err)
	default:
	}
	close(tr.fast)
	if err := <-written; err != nil {
		t.Fatalf("the write: %v", err)
	}
	l.note("%s has finished its write", s.id)
	l.comesBack(s, v.Build)
	<-p.Done
	if p.Err() != nil {
		t.Fatalf("gok: %v\n%s", p.Err(), u.out)
	}
	lines := strings.Split(strings.TrimSpace(u.out.String()), "\n")
	l.note("gok has ended well: %s", lines[len(lines)-1])
	if got := readFile(t, gone.Disks[0]); !bytes.Equal(got[1<<20:len(card)], card[1<<20:]) {
		t.Error("the disk of the station that left changed")
	}
}

// comesBack waits until a station reboots, turns it on again, and waits for another build.
func (l *labTest) comesBack(s *labStation, old string) {
	t := l.t
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errTooLong)
	defer cancel()
	if err := s.vm.WaitReset(ctx); err != nil {
		t.Fatal(err)
	}
	l.note("%s reboots", s.id)
	if err := l.netboot(s); err != nil {
		t.Fatal(err)
	}
	l.wait(s, "back", func(v view) bool { return v.State == "idle" && v.Current && v.Build != old })
}

// rollBack goes back to the first tree.
func (l *labTest) rollBack(s *labStation) {
	v := l.wait(s, "ready", func(v view) bool { return v.State == "idle" })
	l.note("$ netbootd rollback: %s", strings.TrimSpace(l.command("rollback")))
	l.comesBack(s, v.Build)
}

// testboot has one station try a new system, before it is everybody's.
func (l *labTest) testboot(s *labStation) {
	t := l.t
	t.Helper()
	v := l.wait(s, "ready", func(v view) bool { return v.State == "idle" })
	before, err := os.Readlink(filepath.Join(l.dir, "tftp/current"))
	if err != nil {
		t.Fatal(err)
	}
	u := gokUpdate(l.instance, "--testboot")
	p, err := l.Switch.Start(u.cmd)
	if err != nil {
		t.Fatal(err)
	}
	l.note("$ go tool gok -i netboot-imager --parent_dir … update --testboot")
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errTooLong)
	defer cancel()
	if err := s.vm.WaitReset(ctx); err != nil {
		t.Fatalf("%v\n%s", err, u.out)
	}
	if now, err := os.Readlink(filepath.Join(l.dir, "tftp/current")); err != nil || now != before {
		t.Errorf("during the test %s is served, %v, want %s", now, err, before)
	}
	l.note("%s reboots into the new system, %s is still served to others", s.id, before)
	if err := l.netboot(s); err != nil {
		t.Fatal(err)
	}
	l.wait(s, "well, and its system served to all", func(v2 view) bool { return v2.State == "idle" && v2.Current && v2.Build != v.Build })
	<-p.Done
	if p.Err() != nil {
		t.Fatalf("gok: %v\n%s", p.Err(), u.out)
	}
	l.note("gok has ended well")
}

// assigned has a station write an image because netbootd says so: it reads it back, gives
// netbootd the receipt, leaves netboot, and reboots.
func (l *labTest) assigned(s *labStation, card []byte) {
	t := l.t
	t.Helper()
	// Nearly what it carries already.
	image := bytes.Clone(card)
	image[len(image)-1] ^= 1
	if code, err := l.ask(t.Context(), "PUT", "/api/images/other.img", bytes.NewReader(image), nil); err != nil || code != http.StatusCreated {
		t.Fatalf("the upload: %d %v", code, err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(image))
	l.note("$ netbootd assign: %s", strings.TrimSpace(l.command("assign", s.id, "--image", "other", "--device", "/dev/nvme0n1", "--sha256", sum, "--then", "reboot")))
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errTooLong)
	defer cancel()
	if err := s.vm.WaitReset(ctx); err != nil {
		t.Fatal(err)
	}
	l.note("%s reboots", s.id)
	s.vm = nil
	l.wait(s, "taken out", func(v view) bool { return !v.Enrolled })
	if got := readFile(t, s.Disks[0]); !bytes.Equal(got[:len(image)], image) {
		t.Error("the assigned image is not on the disk")
	}
	if out := l.command("stations", "--json"); strings.Contains(out, `"assignment"`) {
		t.Errorf("it is assigned something still: %s", out)
	}
}
