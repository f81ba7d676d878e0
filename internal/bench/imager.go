package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/openseastack/netboot-imager/internal/flash"
)

const benchToken = "token-of-the-benchmark"

// imager is a running imager.
type imager struct {
	cmd    *exec.Cmd
	log    *bytes.Buffer
	client *http.Client
	base   string
}

// startImager starts the program at path, which may write t, in a network namespace.
func startImager(ctx context.Context, path, dir string, where in, t *target) (*imager, error) {
	config := filepath.Join(dir, "config.json")
	text, err := json.Marshal(map[string]any{
		"allowed_ips": []string{"127.0.0.0/8", "10.77.0.0/24"}, "shared_secret": benchToken, "allowed_devices": []string{t.path},
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, err
	}
	var port int
	err = where(func() error {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		port = ln.Addr().(*net.TCPAddr).Port
		return ln.Close()
	})
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	m := &imager{base: "http://" + addr, log: new(bytes.Buffer), client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = where(func() error {
				conn, err = new(net.Dialer).DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		},
	}}}
	m.cmd = exec.CommandContext(ctx, path, "-config", config, "-listen", addr)
	m.cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+dir)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := where(m.cmd.Start); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		resp, err := m.client.Get(m.base + "/health")
		if err == nil {
			resp.Body.Close()
			return m, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			m.cmd.Process.Kill()
			m.cmd.Wait()
			return nil, fmt.Errorf("the imager does not start: %w\n%s", err, m.log)
		}
		time.Sleep(5 * time.Millisecond) // it says nothing when it listens
	}
}

// write has an image written and returns how long that took.
func (m *imager) write(ctx context.Context, url, device string, verify bool) (Sample, error) {
	var s Sample
	body, err := json.Marshal(map[string]any{"image_url": url, "device": device, "verify": verify})
	if err != nil {
		return s, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.base+"/write-image", bytes.NewReader(body))
	if err != nil {
		return s, err
	}
	req.Header.Set("X-Netboot-Token", benchToken)
	start, busy := time.Now(), busySeconds()
	resp, err := m.client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	s.Seconds, s.Busy = time.Since(start).Seconds(), busySeconds()-busy
	if err != nil {
		return s, err
	}
	var got struct {
		Success bool
		Error   string
		Receipt struct {
			flash.Receipt
		}
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		return s, fmt.Errorf("the imager's answer %q: %w", answer, err)
	}
	if !got.Success {
		return s, fmt.Errorf("the imager: %s", got.Error)
	}
	s.Phases, s.Bottleneck = &got.Receipt.Phases, got.Receipt.Bottleneck
	return s, nil
}

// stop ends the imager and adds what it took to s.
func (m *imager) stop(s *Sample) error {
	s.RSS = m.peakRSS()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := m.cmd.Wait(); err != nil {
		return errors.Join(err, errors.New(strings.TrimSpace(m.log.String())))
	}
	s.usage(m.cmd)
	return nil
}

// peakRSS is the imager's own, which getrusage mixes with that of the process that
// started it; 0 if it cannot be had.
func (m *imager) peakRSS() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	for line := range strings.Lines(string(b)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}
