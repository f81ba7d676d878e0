package announce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Client announces a station. Fill in the fields and call Run.
type Client struct {
	// Server is any URL of the boot server, such as that of the configuration.
	Server string
	Token  string
	// Describe says what there is to announce, with all receipts.
	Describe func() Announcement
	// Busy says that a job runs, which is announced more often.
	Busy func() bool
	// Changed is sent to when something is worth announcing at once.
	Changed <-chan struct{}
	// Assigned is called with what each answer assigns, nil for nothing, unless it is nil.
	Assigned func(*Assignment)
	Logf     func(format string, args ...any)

	// state
	once  sync.Once
	flush chan flush
	http  *http.Client
	known map[string]bool // jobs whose receipts have arrived
}

// flush is a wish to have all receipts delivered.
type flush struct {
	ctx  context.Context
	done chan struct{}
}

const (
	interval     = 30 * time.Second
	busyInterval = 3 * time.Second
	// strangerInterval is for servers that know no announcements.
	strangerInterval = 10 * time.Minute
	// maxReceipts is how many receipts one announcement carries.
	maxReceipts = 5
)

func (c *Client) init() {
	c.once.Do(func() {
		c.flush = make(chan flush)
		c.known = map[string]bool{}
		c.http = &http.Client{
			Timeout:   20 * time.Second, // an announcement is small
			Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
			// The token goes to the server that the configuration came from and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
}

// Run announces until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	c.init()
	u, err := url.Parse(c.Server)
	if err != nil || u.Host == "" {
		return fmt.Errorf("announcing to %q: it is no URL of a server", c.Server)
	}
	target := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: Path}).String()
	last := "never asked"
	for {
		wait, all, err := c.announce(ctx, target)
		if ctx.Err() != nil {
			return nil
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != last { // once, not every time
			if err != nil {
				c.Logf("announcing to %s: %v", target, err)
			} else {
				c.Logf("announced to %s", target)
			}
			last = text
		}
		if err == nil && !all {
			continue // more receipts than one announcement carries
		}
		if c.Busy() && wait <= interval {
			wait = min(wait, busyInterval)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.Changed:
		case <-timer.C:
		case f := <-c.flush:
			c.deliver(f.ctx, target)
			close(f.done)
		}
		timer.Stop()
	}
}

// deliver announces until the server has all receipts, or ctx ends.
func (c *Client) deliver(ctx context.Context, target string) {
	for {
		_, all, err := c.announce(ctx, target)
		if err == nil && all || c.isStranger(err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// Flush returns when the server has all receipts, or when ctx ends: before a reboot, which
// loses them.
func (c *Client) Flush(ctx context.Context) error {
	c.init()
	done := make(chan struct{})
	select {
	case c.flush <- flush{ctx, done}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-done:
		return context.Cause(ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// strangerError is the answer of a server that knows no announcements.
type strangerError struct{ status string }

func (e *strangerError) Error() string {
	return fmt.Sprintf("the server answered %s: it keeps no list of stations", e.status)
}

func (c *Client) isStranger(err error) bool {
	var s *strangerError
	return errors.As(err, &s)
}

// announce announces once. all says that the server has all receipts.
func (c *Client) announce(ctx context.Context, target string) (wait time.Duration, all bool, err error) {
	a := c.Describe()
	a.Receipts, all = c.pending(a.Receipts)
	b, err := json.Marshal(a)
	if err != nil {
		return interval, false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(b))
	if err != nil {
		return interval, false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Netboot-Token", c.Token)
	resp, err := c.http.Do(req)
	if err != nil {
		return interval, false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxSize))
	if err != nil {
		return interval, false, err
	}
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed, resp.StatusCode == http.StatusNotImplemented:
		return strangerInterval, false, &strangerError{resp.Status}
	case resp.StatusCode != http.StatusOK:
		return interval, false, fmt.Errorf("the server answered %s", resp.Status)
	}
	var r Reply
	if err := json.Unmarshal(body, &r); err != nil {
		return interval, false, fmt.Errorf("the server's answer: %w", err)
	}
	sent := map[string]bool{}
	for _, receipt := range a.Receipts {
		sent[jobOf(receipt)] = true
	}
	arrived := 0
	for _, job := range r.Receipts {
		if sent[job] && !c.known[job] {
			c.known[job] = true
			arrived++
		}
	}
	if arrived < len(a.Receipts) {
		return interval, false, fmt.Errorf("the server took %d of %d receipts", arrived, len(a.Receipts))
	}
	if c.Assigned != nil {
		c.Assigned(r.Assignment)
	}
	wait = interval
	if n := r.IntervalSeconds; n > 0 {
		wait = time.Duration(min(max(n, 1), 600)) * time.Second
	}
	return wait, all, nil
}

// pending are the receipts that have not arrived yet, oldest first, as many as one
// announcement carries; rest says that those are all.
func (c *Client) pending(receipts []json.RawMessage) (out []json.RawMessage, all bool) {
	for i := len(receipts) - 1; i >= 0; i-- { // they come newest first
		if c.known[jobOf(receipts[i])] {
			continue
		}
		if len(out) == maxReceipts {
			return out, false
		}
		out = append(out, receipts[i])
	}
	return out, true
}

// jobOf is the job that a receipt is of.
func jobOf(receipt json.RawMessage) string {
	var r struct {
		Job string `json:"job"`
	}
	_ = json.Unmarshal(receipt, &r) // one that is none has no job
	return r.Job
}
