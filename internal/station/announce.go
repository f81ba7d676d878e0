package station

import (
	"context"
	"encoding/json"

	"github.com/openseastack/netboot-imager/internal/announce"
)

// Announcement is what there is to tell the boot server, but for what only the program
// around the service knows: Build and Port.
func (s *Server) Announcement() announce.Announcement {
	f := s.machine().Facts()
	a := announce.Announcement{
		Serial: f.Serial, MAC: f.MAC, Hostname: f.Hostname, Model: f.Model, Version: s.opt.Version,
		Kernel: s.machine().Text("sys/kernel/osrelease"), BootID: s.machine().Text("sys/kernel/random/boot_id"),
		BootedFrom: f.BootedFrom, UptimeSeconds: f.UptimeSeconds,
		Status: raw(s.Status()),
	}
	// The disks are left alone while one of them is written.
	if act := s.active.Load(); act != nil && !s.Busy() {
		a.Disks = raw(s.opt.System.Inventory(act.cfg.AllowedDevices))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.receipts {
		a.Receipts = append(a.Receipts, raw(r))
	}
	return a
}

// raw is v in JSON; v is of this service's own types, all of which can be encoded.
func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Busy reports whether a job runs.
func (s *Server) Busy() bool { return s.running() != nil }

// Changes returns a channel that is sent to after changes of stage, until ctx ends. Several
// changes may come as one.
func (s *Server) Changes(ctx context.Context) <-chan struct{} {
	out := make(chan struct{}, 1)
	in := s.subscribe()
	go func() {
		defer s.unsubscribe(in)
		for {
			select {
			case <-ctx.Done():
				return
			case <-in:
			}
			select {
			case out <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return out
}
