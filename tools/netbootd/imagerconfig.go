package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"

	"github.com/openseastack/netboot-imager/internal/config"
)

// imagerConfig is the config.json that stations fetch: who may use them and with which
// token, and what the file says. It returns the token in force, which is the file's if it
// has one.
func imagerConfig(file string, allowed []netip.Prefix, token string) (text json.RawMessage, _ *config.Config, err error) {
	m := map[string]any{"port": config.DefaultPort}
	var ips []string
	for _, p := range allowed {
		if !p.Addr().IsLoopback() {
			ips = append(ips, p.String())
		}
	}
	if ips == nil {
		ips = []string{"127.0.0.1"} // valid, and of no use to a station
	}
	m["allowed_ips"], m["shared_secret"] = ips, token
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the stations' configuration: %w", err)
		}
		if b, err = config.Standardize(b); err != nil {
			return nil, nil, fmt.Errorf("%s %w", file, err)
		}
		if err := json.Unmarshal(b, &m); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if text, err = json.Marshal(m); err != nil {
		return nil, nil, err
	}
	c, err := config.Parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("the stations' configuration: %w", err)
	}
	return text, c, nil
}
