package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Paths are where a config is looked for when none is named, first match wins.
var Paths = []string{"/perm/netboot-imager/config.json", "/etc/netboot-imager/config.json"}

// URLParam is the kernel parameter that names an http or https URL of the config.
const URLParam = "imager.config_url"

// Load reads the config file path.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config %s cannot be read (%w); create it or name another with -config", path, bare(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("config %s cannot be read (%w); create it or name another with -config", path, bare(err))
	}
	c, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	return c, nil
}

// Find returns the first of paths that exists. One that exists but cannot be read is
// returned too, for Load to report.
func Find(paths []string) (string, error) {
	for _, p := range paths {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			return p, nil
		}
	}
	return "", fmt.Errorf("no config: none of %s exists; create one with at least allowed_ips and shared_secret, name one with -config, or put %s=URL on the kernel command line",
		strings.Join(paths, ", "), URLParam)
}

// bare strips the path that *fs.PathError repeats.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Fetch gets the config from url, trying again with back-off (1 s up to 30 s) until a
// server answers with 200, the config turns out invalid, or ctx ends. A netbooted
// station may be up before its network and before its server are.
func Fetch(ctx context.Context, url string, logf func(format string, args ...any)) (*Config, error) {
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
		return nil, fmt.Errorf("config %s: the kernel parameter %s must be an http:// or https:// URL", url, URLParam)
	}
	client := &http.Client{
		Timeout: 30 * time.Second, // of one attempt: a config is small
		Transport: &http.Transport{
			DialContext:       (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			DisableKeepAlives: true,
		},
	}
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		text, err := fetchOnce(ctx, client, url)
		if err == nil {
			c, err := Parse(text)
			if err != nil {
				return nil, fmt.Errorf("config %s: %w", url, err)
			}
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		logf("config %s: %v; trying again in %v", url, err, wait)
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

func fetchOnce(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, MaxSize+1))
}
