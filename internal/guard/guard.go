// Package guard decides who may use the service: by the client's address and by a
// shared token. Default deny: what no prefix matches is refused.
//
// The address is that of the TCP peer. Forwarding headers are not looked at, as
// anybody can write them.
package guard

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

const (
	// MaxWrongTokens is how many wrong tokens one address may send within Window.
	MaxWrongTokens = 10
	// Window is the time for which a wrong token counts.
	Window = time.Minute

	// maxAddrs bounds the memory for wrong tokens. Only allowed clients get this far.
	maxAddrs = 4096
)

// AddrError is returned for a client whose address no prefix matches.
type AddrError struct{ Addr string }

func (e *AddrError) Error() string { return "Unauthorized IP: " + e.Addr }

// TokenError is returned for a missing or wrong token.
type TokenError struct{}

func (*TokenError) Error() string { return "Invalid token" }

// RateError is returned while an address has sent too many wrong tokens. Until Retry
// has passed even the right token is not looked at, as otherwise guessing could go on.
type RateError struct {
	Addr  netip.Addr
	Retry time.Duration
}

func (e *RateError) Error() string {
	return fmt.Sprintf("Too many wrong tokens from %s: more than %d a minute; try again in %d s", e.Addr, MaxWrongTokens, int(e.Retry.Seconds())+1)
}

// Guard checks clients. Use New. It may be used from several goroutines.
type Guard struct {
	// config
	prefixes []netip.Prefix
	token    [sha256.Size]byte
	now      func() time.Time

	// state
	mu    sync.Mutex
	wrong map[netip.Addr][]time.Time // times of wrong tokens within Window, oldest first
}

// New returns a guard that lets clients within prefixes in and accepts token for what
// changes something. now is the clock, time.Now outside tests.
func New(prefixes []netip.Prefix, token string, now func() time.Time) *Guard {
	return &Guard{prefixes: prefixes, token: sha256.Sum256([]byte(token)), now: now, wrong: map[netip.Addr][]time.Time{}}
}

// Addr returns the client's address out of remote ("ADDRESS:PORT", as in
// http.Request.RemoteAddr), or an *AddrError if it may not use the service.
func (g *Guard) Addr(remote string) (netip.Addr, error) {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}, &AddrError{remote}
	}
	a := ap.Addr().Unmap().WithZone("")
	if !Contains(g.prefixes, a) {
		return netip.Addr{}, &AddrError{a.String()}
	}
	return a, nil
}

// Contains reports whether one of prefixes contains a. IPv4-mapped IPv6 addresses
// count as the IPv4 address that they carry; zones are ignored.
func Contains(prefixes []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Token checks the token that the client at addr sent. It returns a *RateError, a
// *TokenError or nil. The comparison takes the same time for every token.
func (g *Guard) Token(addr netip.Addr, token string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	recent := g.wrong[addr]
	for len(recent) > 0 && now.Sub(recent[0]) >= Window {
		recent = recent[1:]
	}
	if len(recent) >= MaxWrongTokens {
		g.wrong[addr] = recent
		return &RateError{Addr: addr, Retry: Window - now.Sub(recent[0])}
	}
	got := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(got[:], g.token[:]) == 1 {
		delete(g.wrong, addr)
		return nil
	}
	g.forget(now)
	g.wrong[addr] = append(recent, now)
	return &TokenError{}
}

// forget makes room when the map is full: first entries that no longer count, and if
// all do, everything.
func (g *Guard) forget(now time.Time) {
	if len(g.wrong) < maxAddrs {
		return
	}
	for a, ts := range g.wrong {
		if now.Sub(ts[len(ts)-1]) >= Window {
			delete(g.wrong, a)
		}
	}
	if len(g.wrong) >= maxAddrs {
		clear(g.wrong)
	}
}
