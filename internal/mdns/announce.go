package mdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/brutella/dnssd"
	"github.com/brutella/dnssd/log"
)

const (
	// lookAgain is how often the network's addresses are looked at. They are announced when
	// they have been the same twice: while DHCP is at work they change.
	lookAgain = 2 * time.Second
	// retry is the pause after a failure.
	retry = time.Minute
)

// Announce announces s where it serves, until ctx ends; then it takes that back. Interfaces
// and addresses may come and go. What goes wrong is logged and tried again: without
// multicast a station is found in other ways.
func Announce(ctx context.Context, s Service, logf func(string, ...any)) {
	var (
		seen, have []string // addresses: at the last look, and announced
		stop       = func() {}
		failed     chan error
	)
	defer func() { stop() }()
	for {
		now, interfaces := s.addresses()
		if slices.Equal(now, seen) && !slices.Equal(now, have) {
			stop()
			stop, have = func() {}, now
			if len(now) > 0 {
				stop, failed = start(ctx, s, interfaces)
				logf("announced by multicast DNS: %s", strings.Join(now, ", "))
			}
		}
		seen = now
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookAgain):
			continue
		case err := <-failed:
			logf("warning: not announced by multicast DNS, trying again in %v: %v", retry, err)
			stop()
			stop, failed, have = func() {}, nil, nil
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}

// start announces s on the interfaces until stop is called, which returns when that has
// been taken back.
func start(ctx context.Context, s Service, interfaces []string) (stop func(), failed chan error) {
	log.Info.Disable() // the library tells of other machines' malformed packets
	// It takes nothing but a cancellation for an end, and must outlive ctx to say goodbye.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	failed = make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := respond(ctx, s, interfaces); ctx.Err() == nil {
			failed <- err
		}
	}()
	return func() { cancel(); <-done }, failed
}

// respond probes for the names, announces them and answers questions.
func respond(ctx context.Context, s Service, interfaces []string) error {
	service, err := dnssd.NewService(s.config(interfaces))
	if err != nil {
		return err
	}
	r, err := dnssd.NewResponder()
	if err != nil {
		return fmt.Errorf("listening to multicast DNS: %w", err)
	}
	if _, err := r.Add(service); err != nil {
		return err
	}
	if err := r.Respond(ctx); err != nil {
		return err
	}
	return errors.New("the responder has ended")
}

// addresses are where others reach s, each with its network interface, and the names of
// those interfaces.
func (s Service) addresses() (addrs, interfaces []string) {
	for _, i := range dnssd.MulticastInterfaces() {
		own, err := i.Addrs()
		if err != nil || i.Flags&net.FlagLoopback != 0 {
			continue // it has just gone, or leads nowhere
		}
		for _, a := range own {
			if n, ok := a.(*net.IPNet); !ok || s.IP != nil && !n.IP.Equal(s.IP) {
				continue
			}
			addrs = append(addrs, i.Name+" "+a.String())
			if !slices.Contains(interfaces, i.Name) {
				interfaces = append(interfaces, i.Name)
			}
		}
	}
	return addrs, interfaces
}
