package stations

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// Client asks stations' imagers over HTTP.
type Client struct {
	token string
	http  *http.Client
}

// maxAnswer is the largest answer of a station in bytes.
const maxAnswer = 1 << 20

// NewClient returns a client that sends the token.
func NewClient(token string) *Client {
	return &Client{token: token, http: &http.Client{
		Transport: &http.Transport{
			DialContext:       (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			DisableKeepAlives: true, // stations come and go
		},
		// The token goes to the station and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Do sends a request to the imager at addr and returns its answer as it is. A POST takes as
// long as it takes; everything else must be answered within ten seconds.
func (c *Client) Do(ctx context.Context, addr netip.AddrPort, method, path string, body []byte) (status int, answer []byte, err error) {
	if method != http.MethodPost {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr.String()+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Netboot-Token", c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("asking the station at %s: %w", addr, err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the answer of the station at %s: %w", addr, err)
	}
	return resp.StatusCode, answer, nil
}

// Reboot asks a station to reboot. It refuses while a write runs.
func (c *Client) Reboot(ctx context.Context, s Station) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	status, answer, err := c.Do(ctx, s.AddrPort(), http.MethodPost, "/reboot", nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("station %s does not reboot: %s %s", s.ID, strconv.Itoa(status), errorOf(answer))
	}
	return nil
}

// errorOf is what an answer says of its failure.
func errorOf(answer []byte) string {
	var a struct{ Error string }
	if json.Unmarshal(answer, &a) == nil && a.Error != "" {
		return a.Error
	}
	return string(bytes.TrimSpace(answer[:min(len(answer), 200)]))
}

// AddrPort is where its imager serves.
func (s *Station) AddrPort() netip.AddrPort {
	port := s.Port
	if port < 1 || port > 65535 {
		port = 8888
	}
	return netip.AddrPortFrom(s.Address, uint16(port))
}
