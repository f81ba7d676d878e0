package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// token is the shared secret of the rows' imagers.
const token = "example-token-of-the-fault-matrix"

// imager is a running imager program.
type imager struct {
	base   string // URL
	port   int
	client *http.Client
	dir    string // its config and state
	cmd    *exec.Cmd
	out    *lockedBuffer
	once   sync.Once
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// answer is the JSON of POST /write-image and of failures.
type answer struct {
	Success bool
	Message string
	Output  string
	Error   string
	Receipt struct {
		SHA256     string `json:"image_sha256"`
		Size       int64  `json:"image_size"`
		Retries    int
		Verified   bool
		Repaired   []any
		Partitions []any
		Direct     bool `json:"direct_io"`
	}
	raw string
}

// sentence is what the answer says.
func (a *answer) sentence() string {
	if a.Error != "" {
		return a.Error
	}
	return a.Message
}

// status is the part of GET /status that rows look at.
type status struct {
	Stage   string
	Percent int
	Message string
	Error   *string
	Receipt struct {
		SHA256 string `json:"image_sha256"`
	}
}

// client has no limit of its own: rows end because the imager ends them. It is for no
// proxy and keeps no connections.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// patience is how long a row may take before it counts as hanging.
const patience = 3 * time.Minute

// binary is a build of the imager, and the mutant in it that is switched on.
type binary struct{ path, mutant string }

// startImager starts the program for one disk; keys are added to its config.
func startImager(t testing.TB, bin binary, dev string, keys map[string]any) *imager {
	t.Helper()
	return startIn(t, loopback, bin, t.TempDir(), dev, keys)
}

// startIn is startImager with a directory for config and state, which a restart finds
// again.
func startIn(t testing.TB, at *place, bin binary, dir, dev string, keys map[string]any) *imager {
	t.Helper()
	port := freePort(t)
	cfg := map[string]any{
		"allowed_ips": []string{at.host}, "shared_secret": token, "allowed_devices": []string{dev},
		"port": port, "stall_timeout": "30s", // long, so that a busy machine is no fault
	}
	maps.Copy(cfg, at.keys)
	maps.Copy(cfg, keys)
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return launch(t, at, bin, dir, port)
}

// launch starts the program with the config in dir.
func launch(t testing.TB, at *place, bin binary, dir string, port int) *imager {
	t.Helper()
	file := filepath.Join(dir, "config.json")
	im := &imager{port: port, client: at.client, base: fmt.Sprintf("http://%s:%d", at.host, port), dir: dir, out: &lockedBuffer{}}
	argv := append(slices.Clone(at.prefix), bin.path, "-config", file)
	im.cmd = exec.Command(argv[0], argv[1:]...)
	im.cmd.Env = []string{"RUNTIME_DIRECTORY=" + dir, "GORACE=halt_on_error=1", "MUTANT=" + bin.mutant}
	im.cmd.Stderr = im.out
	im.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := at.do(im.cmd.Start); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(im.log(), "serving on"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			im.kill()
			t.Fatalf("the imager does not start; its log:\n%s", im.log())
		}
	}
	t.Cleanup(im.kill)
	return im
}

func (im *imager) log() string { return im.out.String() }

// kill ends the program as kill -9 does.
func (im *imager) kill() {
	im.once.Do(func() {
		im.cmd.Process.Kill()
		im.cmd.Wait()
	})
}

// stop ends the program as an init does, and waits for it.
func (im *imager) stop(t testing.TB) {
	t.Helper()
	im.once.Do(func() {
		im.cmd.Process.Signal(syscall.SIGTERM)
		ended := make(chan struct{})
		go func() { im.cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			im.cmd.Process.Kill()
			<-ended
			t.Errorf("the imager does not stop; its log:\n%s", im.log())
		}
	})
}

// tryWrite asks for a write and waits for the answer. It is an error if the imager dies
// meanwhile.
func (im *imager) tryWrite(body map[string]any) (int, answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, answer{}, err
	}
	return im.post(string(text), nil, token)
}

// post sends a body to POST /write-image.
func (im *imager) post(body string, header map[string]string, token string) (int, answer, error) {
	return im.postTo(im.base, im.client, body, header, token)
}

// postTo is post to another address, by another client.
func (im *imager) postTo(base string, c *http.Client, body string, header map[string]string, token string) (int, answer, error) {
	var a answer
	req, err := http.NewRequest(http.MethodPost, base+"/write-image", strings.NewReader(body))
	if err != nil {
		return 0, a, err
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	if token != "" {
		req.Header.Set("X-Netboot-Token", token)
	}
	code, b, err := im.doBy(c, req, patience)
	if err != nil {
		return 0, a, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return 0, a, fmt.Errorf("%d %s: %w", code, b, err)
	}
	a.raw = string(b)
	return code, a, nil
}

func (im *imager) do(req *http.Request, limit time.Duration) (int, []byte, error) {
	return im.doBy(im.client, req, limit)
}

func (im *imager) doBy(c *http.Client, req *http.Request, limit time.Duration) (int, []byte, error) {
	timer := time.AfterFunc(limit, im.kill)
	defer timer.Stop()
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// status asks GET /status.
func (im *imager) status() (status, error) { return im.statusBy(im.client) }

func (im *imager) statusBy(c *http.Client) (status, error) {
	var st status
	req, err := http.NewRequest(http.MethodGet, im.base+"/status", nil)
	if err != nil {
		return st, err
	}
	code, b, err := im.doBy(c, req, time.Minute)
	if err != nil {
		return st, err
	}
	if code != http.StatusOK {
		return st, fmt.Errorf("GET /status: %d %s", code, b)
	}
	return st, json.Unmarshal(b, &st)
}

// await waits for a moment of a write, for rows that act then.
func (im *imager) await(moment func(status) bool) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		resp, err := im.client.Get(im.base + "/status")
		if err != nil {
			return err
		}
		var st status
		err = json.NewDecoder(resp.Body).Decode(&st)
		resp.Body.Close()
		switch {
		case err != nil:
			return err
		case moment(st):
			return nil
		case st.Stage == "error" || st.Stage == "complete":
			return fmt.Errorf("the moment did not come: the write is at %+v", st)
		}
	}
	return errors.New("the moment did not come")
}

// cancel asks DELETE /write-image.
func (im *imager) cancel() error {
	req, err := http.NewRequest(http.MethodDelete, im.base+"/write-image", nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Netboot-Token", token)
	code, b, err := im.do(req, patience)
	if err == nil && code != http.StatusOK {
		err = errors.New(string(b))
	}
	return err
}

// nextPort is where freePort looks next. Ports that the kernel gives out by itself begin at 32768:
// one of those could be a connection's of another row before the program listens on it.
var nextPort atomic.Int32

// freePort returns a port that nobody listens on and that no other row of this run has had lately.
func freePort(t testing.TB) int {
	t.Helper()
	for range 20000 {
		port := 10000 + (os.Getpid()*512+int(nextPort.Add(1)))%20000
		ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no port between 10000 and 30000 is free")
	return 0
}
