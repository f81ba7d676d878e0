package main

import (
	"cmp"
	"context"
	"net"

	"github.com/openseastack/netboot-imager/internal/machine"
	"github.com/openseastack/netboot-imager/internal/mdns"
)

// announceNearby announces on the networks what serves on addr, until stop is called, which
// returns when that has been taken back. A service of this machine alone is not announced.
func (p *program) announceNearby(ctx context.Context, addr net.Addr) (stop func()) {
	tcp, ok := addr.(*net.TCPAddr)
	if !p.mdns || !ok || tcp.IP.IsLoopback() {
		return func() {}
	}
	f := machine.System{Proc: p.env.system.Proc, Sys: p.env.system.Sys}.Facts()
	s := mdns.Service{ID: cmp.Or(f.Serial, f.MAC, f.Hostname), Port: tcp.Port, Version: version(), Model: f.Model, Serial: f.Serial}
	if !tcp.IP.IsUnspecified() {
		s.IP = tcp.IP
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		mdns.Announce(ctx, s, p.logf)
	}()
	return func() { cancel(); <-done }
}
