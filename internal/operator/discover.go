package operator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

const (
	// maxAddrs is how many addresses are tried: a /20.
	maxAddrs = 4096
	// probes is how many are tried at the same time.
	probes = 256
)

func (a *app) discoverCommand() *cobra.Command {
	port, limit := uint16(client.DefaultPort), 2*time.Second
	cmd := &cobra.Command{
		Use:   "discover [PREFIX…]",
		Short: "find the stations of a network",
		Long: `discover asks every address of the networks for an imager (GET /health on its port, which
needs no token) and lists those that answer. Without a PREFIX it asks the IPv4 networks that
this machine is in. It exits with 1 if it finds none.`,
		Example: `  flash discover
  flash discover 10.0.0.0/24 10.0.1.7`,
		RunE: func(cmd *cobra.Command, args []string) error {
			addrs, err := addresses(args)
			if err != nil {
				return err
			}
			return a.discover(cmd.Context(), addrs, port, limit)
		},
	}
	cmd.Flags().Uint16Var(&port, "port", port, "`PORT` that the imagers serve on")
	cmd.Flags().DurationVar(&limit, "wait", limit, "how long an address may take to answer")
	return cmd
}

// discovered is a station of which only GET /health may be known: the rest needs an
// allowed address.
type discovered struct {
	Address string        `json:"address"`
	Health  client.Health `json:"health"`
	Facts   client.Facts  `json:"station"`
	Stage   string        `json:"stage,omitempty"`
	Error   string        `json:"error,omitempty"`
}

func (a *app) discover(ctx context.Context, addrs []netip.Addr, port uint16, limit time.Duration) error {
	ctx, stop := a.untilSignal(ctx)
	defer stop()
	found := make([]*discovered, len(addrs))
	c := client.New("")
	var g errgroup.Group
	g.SetLimit(probes)
	for i, addr := range addrs {
		g.Go(func() error {
			s := client.Station{Addr: netip.AddrPortFrom(addr, port).String()}
			probe, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			health, err := c.Health(probe, s)
			if err != nil || health.Service != "netboot-imager" {
				return nil // no imager
			}
			d := &discovered{Address: s.Addr, Health: health}
			found[i] = d
			st, err := c.Status(ctx, s)
			if err == nil {
				d.Facts, err = c.Facts(ctx, s)
			}
			if d.Stage = st.Stage; err != nil {
				d.Error = err.Error()
			}
			return nil
		})
	}
	g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	list := []*discovered{}
	rows := [][]string{{"ADDRESS", "MODEL", "SERIAL", "VERSION", "STAGE"}}
	for _, d := range found {
		if d == nil {
			continue
		}
		list = append(list, d)
		row := []string{d.Address, d.Facts.Model, d.Facts.Serial, d.Health.Version, d.Stage}
		if d.Error != "" {
			row = []string{d.Address, "", "", d.Health.Version, d.Error}
		}
		rows = append(rows, row)
	}
	if a.json {
		if err := a.printJSON(list); err != nil {
			return err
		}
	} else if len(list) > 0 {
		table(a.Stdout, rows)
	}
	if len(list) == 0 {
		return &NotGoodError{fmt.Sprintf("none of %d addresses answered as an imager on port %d", len(addrs), port)}
	}
	return nil
}

// addresses are those of the prefixes, or of this machine's own networks.
func addresses(prefixes []string) ([]netip.Addr, error) {
	var nets []netip.Prefix
	for _, s := range prefixes {
		p, err := netip.ParsePrefix(s)
		if addr, e := netip.ParseAddr(s); e == nil {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a prefix like 10.0.0.0/24", s)
		}
		nets = append(nets, p.Masked())
	}
	if len(prefixes) == 0 {
		own, err := net.InterfaceAddrs()
		if err != nil {
			return nil, err
		}
		for _, a := range own {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
				nets = append(nets, p.Masked())
			}
		}
		if len(nets) == 0 {
			return nil, errors.New("this machine is in no IPv4 network; name one, like flash discover 10.0.0.0/24")
		}
	}
	var addrs []netip.Addr
	for _, p := range nets {
		for addr := p.Addr(); p.Contains(addr); addr = addr.Next() {
			if len(addrs) == maxAddrs {
				return nil, fmt.Errorf("these are more than %d addresses; name a smaller network, like flash discover 10.0.0.0/24", maxAddrs)
			}
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}
