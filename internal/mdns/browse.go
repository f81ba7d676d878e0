package mdns

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/brutella/dnssd"
	"github.com/brutella/dnssd/log"
)

// Found is a station that was heard of. Anybody on the network may have said it.
type Found struct {
	Addr                   netip.AddrPort
	Version, Model, Serial string // "" if it did not say
}

// askAgain is after how long the question is asked once more: packets get lost (RFC 6762,
// section 5.2, has a second at least).
const askAgain = time.Second

// Browse asks for stations on all networks of this machine, and returns who has answered
// when ctx ends, by address. An error says that it could not ask; a network that lets no
// multicast pass is none.
func Browse(ctx context.Context) ([]Found, error) {
	log.Info.Disable() // the library tells of other machines' malformed packets
	var (
		mu    sync.Mutex
		found = map[netip.AddrPort]Found{}
		wg    sync.WaitGroup
	)
	// The library takes nothing but a cancellation for an end.
	asking, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, 2)
	ask := func() {
		defer wg.Done()
		err := dnssd.LookupType(asking, Type+"."+Domain+".", func(e dnssd.BrowseEntry) {
			addr, ok := address(e)
			if !ok {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			found[addr] = Found{addr, e.Text["version"], e.Text["model"], e.Text["serial"]}
		}, func(dnssd.BrowseEntry) {})
		if asking.Err() == nil {
			failed <- err
		}
	}
	wg.Add(1)
	go ask()
	again := time.NewTimer(askAgain)
	defer again.Stop()
	var err error
wait:
	for {
		select {
		case <-again.C:
			wg.Add(1)
			go ask()
		case e := <-failed:
			err = fmt.Errorf("asking by multicast DNS: %w", e)
			break wait
		case <-ctx.Done():
			break wait
		}
	}
	stop()
	wg.Wait()
	list := make([]Found, 0, len(found))
	for _, f := range found {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b Found) int { return a.Addr.Compare(b.Addr) })
	return list, err
}

// address is where to reach what was found: its first IPv4 address, else its first IPv6
// address that is valid without an interface.
func address(e dnssd.BrowseEntry) (netip.AddrPort, bool) {
	if e.Port < 1 || e.Port > 65535 {
		return netip.AddrPort{}, false
	}
	ips := slices.SortedStableFunc(slices.Values(e.IPs), func(a, b net.IP) int { return cmp.Compare(len(plain4(a)), len(plain4(b))) })
	for _, ip := range ips {
		addr, ok := netip.AddrFromSlice(plain4(ip))
		if ok && (addr.IsGlobalUnicast() || addr.Is4() && addr.IsLinkLocalUnicast()) {
			return netip.AddrPortFrom(addr, uint16(e.Port)), true
		}
	}
	return netip.AddrPort{}, false
}

// plain4 has an IPv4 address in 4 bytes.
func plain4(ip net.IP) net.IP {
	if v4 := ip.To4(); v4 != nil {
		return v4
	}
	return ip
}
