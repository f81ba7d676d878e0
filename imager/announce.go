package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/config"
	"github.com/openseastack/netboot-imager/internal/station"
)

// lastWords is how long a reboot waits for the boot server to take the receipts, which
// are in RAM on a netbooted station.
const lastWords = 20 * time.Second

// announce tells the boot server that the config came from of the station, until ctx ends.
func (p *program) announce(ctx context.Context, s *station.Server, cfg *config.Config, url string, port int) {
	build := "" // asked for until gokrazy answers
	orders := &assignments{station: s, powerOff: func() error { return p.switchOff(ctx) }, logf: p.logf}
	c := &announce.Client{
		Server: url, Token: cfg.SharedSecret,
		Describe: func() announce.Announcement {
			a := s.Announcement()
			if build == "" {
				build = gokrazyBuild(ctx)
			}
			a.Build, a.Port, a.Outcome = build, port, orders.result()
			return a
		},
		Busy: s.Busy, Changed: s.Changes(ctx), Logf: p.logf,
		Assigned: func(a *announce.Assignment) { orders.take(ctx, a) },
	}
	p.announcer.Store(c)
	if err := c.Run(ctx); err != nil {
		p.logf("warning: %v", err)
	}
}

// beforeReboot gives the boot server the receipts.
func (p *program) beforeReboot(ctx context.Context) {
	c := p.announcer.Load()
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		p.logf("the boot server has not taken the receipts: %v", err)
	}
}

// switchOff has gokrazy switch the station off, with the same last words.
func (p *program) switchOff(ctx context.Context) error {
	p.beforeReboot(ctx)
	return powerOff()
}

// gokrazyBuild is the time of the gokrazy build that runs, "" if none does.
func gokrazyBuild(ctx context.Context) string {
	if rebootable() != nil {
		return ""
	}
	client := &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", gokrazySocket)
		}},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gokrazy/", nil)
	if err != nil {
		return ""
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var status struct{ BuildTimestamp string }
	if json.NewDecoder(resp.Body).Decode(&status) != nil {
		return ""
	}
	return status.BuildTimestamp
}
