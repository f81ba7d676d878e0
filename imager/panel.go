package main

import (
	"cmp"
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/openseastack/netboot-imager/internal/cmdline"
	"github.com/openseastack/netboot-imager/internal/config"
	"github.com/openseastack/netboot-imager/internal/machine"
	"github.com/openseastack/netboot-imager/internal/panel"
	"github.com/openseastack/netboot-imager/internal/station"
)

// serving is a station that has its config.
type serving struct {
	station *station.Server
	port    int
}

// screenOf returns the terminal for the panel's screen; "" for none. A gokrazy whose own
// log and shell are on the HDMI console keeps it.
func screenOf(sys string) string {
	const screen = "tty1"
	b, err := os.ReadFile(filepath.Join(sys, "class/tty/console/active"))
	consoles := strings.Fields(string(b)) // the last one is /dev/console
	if err != nil || len(consoles) == 0 || consoles[len(consoles)-1] == screen {
		return ""
	}
	return "/dev/" + screen
}

// panel shows on the machine itself how it goes, until stop is called.
func (p *program) panel(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	if p.env.screen != "" {
		go func() { // not waited for: a terminal may hold up who writes to it
			if err := panel.RunScreen(ctx, p.env.screen, p.view); err != nil {
				p.logf("nothing is shown on the HDMI console: %v", err)
			}
		}()
	}
	dark := make(chan struct{})
	go func() {
		defer close(dark)
		led := panel.FindLED(p.env.leds)
		if p.env.leds == "" || led == nil {
			return
		}
		beat := time.NewTicker(panel.Beat)
		defer beat.Stop()
		if err := led.Run(ctx, beat.C, p.view); err != nil {
			p.logf("the activity LED shows nothing: %v", err)
		}
	}()
	return func() {
		cancel()
		<-dark
	}
}

// view is what there is to show now.
func (p *program) view() panel.View {
	m := machine.System{Proc: p.env.system.Proc, Sys: p.env.system.Sys}
	name, _ := os.Hostname()
	v := panel.View{Name: name, Version: version(), Machine: cmp.Or(m.Model(), "unknown model")}
	if serial := m.Serial(); serial != "" {
		v.Machine += ", serial " + serial
	}
	s := p.serving.Load()
	if s == nil {
		v.Starting = "Waiting for the configuration"
		line, _ := os.ReadFile(filepath.Join(p.env.system.Proc, "cmdline"))
		if url, ok := cmdline.Get(string(line), config.URLParam); ok {
			v.Starting += " from " + url
		}
	} else {
		v.Status = s.station.Status()
	}
	if addr := address(); addr != "" && s != nil {
		v.Address = "http://" + net.JoinHostPort(addr, strconv.Itoa(s.port)) + "/"
	} else {
		v.Address = addr
	}
	return v
}

// address is this machine's first one that others can reach, IPv4 before IPv6; "" if it
// has none.
func address() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	found := ""
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		switch {
		case !ok || !ip.IP.IsGlobalUnicast():
		case ip.IP.To4() != nil:
			return ip.IP.String()
		case found == "":
			found = ip.IP.String()
		}
	}
	return found
}
