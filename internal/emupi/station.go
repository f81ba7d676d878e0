package emupi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/openseastack/netboot-imager/internal/lab"
)

// Station is the HTTP service of a running machine.
type Station struct {
	net    lab.Network
	mac    string
	port   int
	client *http.Client
}

// Health is what GET /health answers.
type Health struct {
	Service string `json:"service"`
	Status  string `json:"status"`
	Version string `json:"version"`
}

// Status is the part of GET /status that is used here; docs/ has the rest.
type Status struct {
	Stage      string  `json:"stage"`
	Percent    float64 `json:"percent"`
	Message    string  `json:"message"`
	Error      *string `json:"error"`
	PhaseBytes int64   `json:"phase_bytes"`
	TotalBytes int64   `json:"total_bytes"`
	Rate       float64 `json:"bytes_per_second"`
}

// URL of a path; it needs the station's address, which it has when DHCP gave one.
func (s *Station) URL(path string) (string, error) {
	addr, err := s.net.StationAddr(s.mac, s.port)
	if err != nil {
		return "", err
	}
	return "http://" + addr + path, nil
}

// Get fetches a path within a time and returns status and body.
func (s *Station) Get(ctx context.Context, path string, limit time.Duration) (int, []byte, error) {
	url, err := s.URL(path)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	return s.do(req)
}

func (s *Station) do(req *http.Request) (int, []byte, error) {
	res, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// Machine is a VM, or a Power, which starts a new one after each reset.
type Machine interface {
	// Ended says why it has stopped for good, or nil while it runs.
	Ended() error
}

// WaitUp waits until GET path answers 200 and, unless ok is nil, with a body that ok
// accepts. It gives up when the machine stops or ctx ends.
func (s *Station) WaitUp(ctx context.Context, m Machine, path string, ok func([]byte) bool) ([]byte, error) {
	var last error
	for {
		code, body, err := s.Get(ctx, path, 3*time.Second)
		switch {
		case err != nil:
			last = err
		case code == http.StatusOK && (ok == nil || ok(body)):
			return body, nil
		default:
			last = fmt.Errorf("%d %s", code, body)
		}
		if err := m.Ended(); err != nil {
			return nil, fmt.Errorf("waiting for %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s: %w; last: %w", path, context.Cause(ctx), last)
		case <-time.After(pollInterval):
		}
	}
}

// WaitHealthy waits until the imager is up and configured.
func (s *Station) WaitHealthy(ctx context.Context, m Machine) (Health, error) {
	var h Health
	_, err := s.WaitUp(ctx, m, "/health", func(b []byte) bool {
		return json.Unmarshal(b, &h) == nil && h.Status == "ok"
	})
	return h, err
}

// Status asks how far a write is.
func (s *Station) Status(ctx context.Context) (Status, error) {
	var st Status
	code, body, err := s.Get(ctx, "/status", 10*time.Second)
	if err != nil {
		return st, err
	}
	if code != http.StatusOK {
		return st, fmt.Errorf("GET /status: %d %s", code, body)
	}
	return st, json.Unmarshal(body, &st)
}

// WriteImage asks for an image to be written, with the token, and returns status and
// body of the answer, which comes when the write has ended.
func (s *Station) WriteImage(ctx context.Context, token string, request map[string]any) (int, []byte, error) {
	url, err := s.URL("/write-image")
	if err != nil {
		return 0, nil, err
	}
	b, err := json.Marshal(request)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Netboot-Token", token)
	return s.do(req)
}

// Events calls f for each event of GET /events until ctx ends, which is no error.
func (s *Station) Events(ctx context.Context, f func(Status)) error {
	url, err := s.URL("/events")
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /events: %s", res.Status)
	}
	sc := bufio.NewScanner(res.Body)
	sc.Buffer(nil, 1<<20) // a receipt is long
	for sc.Scan() {
		data, ok := bytes.CutPrefix(sc.Bytes(), []byte("data:"))
		if !ok {
			continue
		}
		var st Status
		if err := json.Unmarshal(data, &st); err != nil {
			return fmt.Errorf("GET /events: %w", err)
		}
		f(st)
	}
	if ctx.Err() != nil {
		return nil
	}
	return sc.Err()
}
