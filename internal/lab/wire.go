package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Addresses of a Wire's ends.
const (
	wireServerIP = serverIP
	wireClientIP = firstIP
)

// Wire is two network namespaces with a cable of a given speed between them. Like a
// Namespace it goes away with the last program in it.
type Wire struct {
	Server *Namespace // has the address that Namespace.Server returns
	Client *Namespace
}

// NewWire makes a wire that carries bits per second from the server to the client, by tc's
// token bucket filter. It needs root and iproute2.
func NewWire(ctx context.Context, bits int64) (*Wire, error) {
	w := &Wire{Server: &Namespace{ns: netns.None()}, Client: &Namespace{ns: netns.None()}}
	if err := w.create(ctx, bits); err != nil {
		return nil, errors.Join(fmt.Errorf("making a wire of %d Mbit/s between two network namespaces: %w", bits/1e6, err), w.Close())
	}
	return w, nil
}

func (w *Wire) create(ctx context.Context, bits int64) error {
	if err := w.Server.create(); err != nil {
		return err
	}
	if err := w.Client.create(); err != nil {
		return err
	}
	err := w.Server.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "wire0"}, PeerName: "wire0", PeerNamespace: netlink.NsFd(int(w.Client.ns)),
		})
	})
	if err != nil {
		return err
	}
	for _, end := range []struct {
		n  *Namespace
		ip string
	}{{w.Server, wireServerIP}, {w.Client, wireClientIP}} {
		err := end.n.Do(func() error {
			for _, name := range []string{"lo", "wire0"} {
				l, err := netlink.LinkByName(name)
				if err != nil {
					return err
				}
				if name == "wire0" {
					addr, err := netlink.ParseAddr(end.ip + "/24")
					if err != nil {
						return err
					}
					if err := netlink.AddrAdd(l, addr); err != nil {
						return err
					}
				}
				if err := netlink.LinkSetUp(l); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return w.Server.Do(func() error {
		// A queue of 1 MB is a switch's. What is due after 8 ms may be sent at once, so that a
		// fast wire does not lose those in which no core was free to see to it; and never less
		// than a network card sends on its own.
		out, err := exec.CommandContext(ctx, "tc", "qdisc", "add", "dev", "wire0", "root", "tbf",
			"rate", fmt.Sprintf("%dbit", bits), "burst", fmt.Sprint(max(128<<10, bits/8*8/1000)), "limit", "1mb").CombinedOutput()
		if err != nil {
			return fmt.Errorf("tc: %w: %s", err, out)
		}
		return nil
	})
}

// Close lets go of the namespaces.
func (w *Wire) Close() error { return errors.Join(w.Server.Close(), w.Client.Close()) }
