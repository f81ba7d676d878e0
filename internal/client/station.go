package client

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// DefaultPort is where imagers serve.
const DefaultPort = 8888

// Station is where an imager serves.
type Station struct {
	Name string // as the operator wrote it
	Addr string // HOST:PORT
}

// ParseStations reads stations as people list them: HOST or HOST:PORT, separated by
// commas, in one word or several. It refuses a station that is named twice, since two
// writes at once are not what its owner means.
func ParseStations(words []string) ([]Station, error) {
	var list []Station
	seen := map[string]string{}
	for _, word := range words {
		for name := range strings.SplitSeq(word, ",") {
			name = strings.TrimSpace(name)
			if name == "" {
				continue
			}
			addr, err := withPort(name)
			if err != nil {
				return nil, fmt.Errorf("station %q: %w; write HOST or HOST:PORT", name, err)
			}
			if first, twice := seen[addr]; twice {
				return nil, fmt.Errorf("station %q was named before, as %q; name each once", name, first)
			}
			seen[addr] = name
			list = append(list, Station{name, addr})
		}
	}
	return list, nil
}

func withPort(name string) (string, error) {
	if strings.ContainsAny(name, "/@ ") {
		return "", errors.New("is not an address")
	}
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil { // 10.0.0.5, fd00::5, [fd00::5]
		return netip.AddrPortFrom(ip, DefaultPort).String(), nil
	}
	if !strings.Contains(name, ":") {
		return net.JoinHostPort(strings.ToLower(name), strconv.Itoa(DefaultPort)), nil
	}
	host, port, err := net.SplitHostPort(name)
	if err != nil {
		return "", errors.New("is not an address")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return "", fmt.Errorf("has the port %q", port)
	}
	return net.JoinHostPort(strings.ToLower(host), port), nil
}
