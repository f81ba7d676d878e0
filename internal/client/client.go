// Package client asks stations over HTTP, from wherever an operator sits. It knows the
// answers' JSON and nothing of how a station makes them, so it builds for every system.
package client

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
	"strings"
	"syscall"
	"time"
)

const (
	// askTimeout is how long a station may take to answer a question.
	askTimeout = 15 * time.Second
	// maxAnswer is the largest answer in bytes; twenty receipts are well below.
	maxAnswer = 4 << 20
)

// Client asks stations. It keeps no state of them, and is for any goroutine.
type Client struct {
	token string
	http  *http.Client
}

// New returns a client that sends token with what changes something.
func New(token string) *Client {
	return &Client{token: token, http: &http.Client{
		Transport: &http.Transport{
			// Stations are on this network: no proxy gets to see the token.
			DialContext:       (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			DisableKeepAlives: true, // a station may reboot between two questions
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Error is a station's refusal or failure, in its own words.
type Error struct {
	Status  int // HTTP's
	Message string
}

func (e *Error) Error() string { return e.Message }

// UnreachableError is returned when a station gave no answer.
type UnreachableError struct {
	Addr string
	Err  error
}

func (e *UnreachableError) Error() string {
	why := e.Err.Error()
	var ne net.Error
	switch {
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		why = "nothing listens there"
	case errors.As(e.Err, &ne) && ne.Timeout(), errors.Is(e.Err, context.DeadlineExceeded):
		why = "it does not answer"
	}
	return fmt.Sprintf("no answer from %s: %s", e.Addr, why)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Facts asks what machine the station is.
func (c *Client) Facts(ctx context.Context, s Station) (f Facts, err error) {
	return f, c.get(ctx, s, "/station", &f)
}

// Health asks whether an imager serves there. It is open to everybody.
func (c *Client) Health(ctx context.Context, s Station) (h Health, err error) {
	return h, c.get(ctx, s, "/health", &h)
}

// Status asks how the running job goes, or how the last one ended.
func (c *Client) Status(ctx context.Context, s Station) (st Status, err error) {
	return st, c.get(ctx, s, "/status", &st)
}

// Disks asks for the disks that may be written, the default one first.
func (c *Client) Disks(ctx context.Context, s Station) ([]Disk, error) {
	var list struct{ Disks []Disk }
	return list.Disks, c.get(ctx, s, "/disks", &list)
}

// Receipts asks for what the last successful writes left, newest first.
func (c *Client) Receipts(ctx context.Context, s Station) ([]Receipt, error) {
	var list struct{ Receipts []Receipt }
	return list.Receipts, c.get(ctx, s, "/receipts", &list)
}

// Write asks for a write. It returns the job's identifier as soon as the station has
// accepted it; of a dry run it returns the end, which says what would happen.
func (c *Client) Write(ctx context.Context, s Station, r WriteRequest) (Answer, error) {
	return c.change(ctx, s, http.MethodPost, "/write-image", r)
}

// Cancel stops the running write, and returns when it has ended. The answer says what is
// on the disk.
func (c *Client) Cancel(ctx context.Context, s Station) (Answer, error) {
	return c.change(ctx, s, http.MethodDelete, "/write-image", nil)
}

// Reboot has the station reboot; it refuses during a write.
func (c *Client) Reboot(ctx context.Context, s Station) (Answer, error) {
	return c.change(ctx, s, http.MethodPost, "/reboot", nil)
}

// get asks for JSON.
func (c *Client) get(ctx context.Context, s Station, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := c.send(ctx, s, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return decode(s, resp, into)
}

// change asks for a change, with the token. It has no time limit of its own: a station
// looks at the image before it answers a dry run, and a cancelled disk lets go when it can.
func (c *Client) change(ctx context.Context, s Station, method, path string, body any) (a Answer, err error) {
	b := []byte(nil)
	if body != nil {
		if b, err = json.Marshal(body); err != nil {
			return a, err
		}
	}
	resp, err := c.send(ctx, s, method, path, b)
	if err != nil {
		return a, err
	}
	return a, decode(s, resp, &a)
}

// Do asks a station what somebody else has asked, and returns its answer as it is. The token
// goes with everything. A POST takes as long as it takes; all else must be answered within
// askTimeout.
func (c *Client) Do(ctx context.Context, s Station, method, path string, body []byte) (status int, answer []byte, err error) {
	if method != http.MethodPost {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, askTimeout)
		defer cancel()
	}
	resp, err := c.sendWith(ctx, s, method, path, body, map[string]string{"X-Netboot-Token": c.token, "Content-Type": "application/json"})
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return 0, nil, &UnreachableError{s.Addr, err}
	}
	return resp.StatusCode, answer, nil
}

func (c *Client) send(ctx context.Context, s Station, method, path string, body []byte) (*http.Response, error) {
	var header map[string]string
	if method != http.MethodGet {
		header = map[string]string{"X-Netboot-Token": c.token, "Content-Type": "application/json", "Prefer": "respond-async"}
	}
	return c.sendWith(ctx, s, method, path, body, header)
}

func (c *Client) sendWith(ctx context.Context, s Station, method, path string, body []byte, header map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for key, value := range header {
		req.Header.Set(key, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without method and URL, which the reader did not type
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, &UnreachableError{s.Addr, err}
	}
	return resp, nil
}

// decode reads an answer, and turns a failure into an Error.
func decode(s Station, resp *http.Response, into any) error {
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &UnreachableError{s.Addr, err}
	}
	var failure struct{ Error string }
	if resp.StatusCode >= 300 {
		if json.Unmarshal(b, &failure) != nil || failure.Error == "" {
			failure.Error = fmt.Sprintf("%s answered %s, not as an imager does; is it one?", s.Addr, resp.Status)
		}
		return &Error{resp.StatusCode, strings.TrimSpace(failure.Error)}
	}
	if err := json.Unmarshal(b, into); err != nil {
		return &Error{resp.StatusCode, fmt.Sprintf("%s answered what no imager answers (%v); is it one?", s.Addr, err)}
	}
	return nil
}
