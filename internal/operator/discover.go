package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/openseastack/netboot-imager/internal/mdns"
	"github.com/spf13/cobra"
)

func (a *app) discoverCommand() *cobra.Command {
	d := discovery{app: a, port: client.DefaultPort, wait: 3 * time.Second}
	cmd := &cobra.Command{
		Use:   "discover [PREFIX…]",
		Short: "find the stations of a network",
		Long: `discover listens for stations that announce themselves by multicast DNS. Multicast does not
pass everywhere, so it also asks every address of the IPv4 networks that this machine is in
for an imager (GET /health on its port, which needs no token); --no-scan leaves that out.
With a PREFIX it asks the addresses of the prefixes, and nobody else.

It lists who answers, and exits with 1 if nobody does.`,
		Example: `  flash discover
  flash discover --no-scan
  flash discover 10.0.0.0/24 10.0.1.7`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if d.noScan && len(args) > 0 {
				return errors.New("--no-scan asks no addresses, so name none")
			}
			return d.run(cmd.Context(), args)
		},
	}
	cmd.Flags().Uint16Var(&d.port, "port", d.port, "`PORT` that the imagers serve on, where addresses are asked")
	cmd.Flags().DurationVar(&d.wait, "wait", d.wait, "how long to listen, and how long an address may take to answer")
	cmd.Flags().BoolVar(&d.noScan, "no-scan", false, "only listen for announcements")
	return cmd
}

// discovery is one run of flash discover.
type discovery struct {
	*app
	port   uint16
	wait   time.Duration
	noScan bool

	client *client.Client
	mu     sync.Mutex
	found  map[netip.AddrPort]*discovered
}

// discovered is a station of which only GET /health and what it announces may be known: the
// rest needs an allowed address.
type discovered struct {
	Address string        `json:"address"`
	By      string        `json:"found_by"`
	Health  client.Health `json:"health"`
	Facts   client.Facts  `json:"station"`
	Stage   string        `json:"stage,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// How a station was found.
const (
	byMDNS = "mdns"
	byScan = "scan"
)

func (d *discovery) run(ctx context.Context, prefixes []string) error {
	ctx, stop := d.untilSignal(ctx)
	defer stop()
	d.client, d.found = client.New(""), map[netip.AddrPort]*discovered{}
	listens := len(prefixes) == 0
	var addrs []netip.AddrPort
	if !d.noScan {
		var err error
		if addrs, err = addresses(prefixes, d.port); err != nil {
			if !listens {
				return err
			}
			fmt.Fprintf(d.Stderr, "only listening for announcements: %v\n", err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { probe(addrs, func(addr netip.AddrPort) { d.try(ctx, addr, byScan, client.Facts{}) }) })
	if listens {
		wg.Go(func() { d.listen(ctx) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := d.print(); err != nil {
		return err
	}
	switch {
	case len(d.found) > 0:
		return nil
	case len(addrs) == 0:
		return &NotGoodError{fmt.Sprintf("no station has announced itself in %v; multicast may not pass here, so ask addresses, like flash discover 10.0.0.0/24", d.wait)}
	case listens:
		return &NotGoodError{fmt.Sprintf("no station has announced itself, and none of %d addresses answered as an imager on port %d", len(addrs), d.port)}
	}
	return &NotGoodError{fmt.Sprintf("none of %d addresses answered as an imager on port %d", len(addrs), d.port)}
}

// listen tries what is announced.
func (d *discovery) listen(ctx context.Context) {
	listening, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	announced, err := mdns.Browse(listening)
	if err != nil {
		fmt.Fprintf(d.Stderr, "announcements are not heard: %v\n", err)
	}
	var wg sync.WaitGroup
	for _, f := range announced {
		wg.Go(func() { d.try(ctx, f.Addr, byMDNS, client.Facts{Model: f.Model, Serial: f.Serial, Version: f.Version}) })
	}
	wg.Wait()
}

// try asks an address, and keeps it if an imager answers. said is what it has announced.
func (d *discovery) try(ctx context.Context, addr netip.AddrPort, by string, said client.Facts) {
	s := client.Station{Addr: addr.String()}
	limited, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	health, err := d.client.Health(limited, s)
	if err != nil || health.Service != "netboot-imager" {
		return // no imager
	}
	f := &discovered{Address: s.Addr, By: by, Health: health, Facts: said}
	st, err := d.client.Status(ctx, s)
	if err == nil {
		var facts client.Facts
		if facts, err = d.client.Facts(ctx, s); err == nil {
			f.Facts = facts
		}
	}
	if f.Stage = st.Stage; err != nil {
		f.Error = err.Error()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if by == byMDNS || d.found[addr] == nil { // who is found in both ways has announced itself
		d.found[addr] = f
	}
}

// print prints what was found, by address.
func (d *discovery) print() error {
	list := []*discovered{}
	rows := [][]string{{"ADDRESS", "MODEL", "SERIAL", "VERSION", "STAGE"}}
	for _, addr := range slices.SortedFunc(maps.Keys(d.found), netip.AddrPort.Compare) {
		f := d.found[addr]
		list = append(list, f)
		stage := f.Stage
		if f.Error != "" {
			stage = f.Error
		}
		rows = append(rows, []string{f.Address, f.Facts.Model, f.Facts.Serial, f.Health.Version, stage})
	}
	if d.json {
		return d.printJSON(list)
	}
	if len(list) > 0 {
		table(d.Stdout, rows)
	}
	return nil
}
