package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"path/filepath"

	"github.com/openseastack/netboot-imager/internal/dnsmasq"
)

// dhcpOptions are the flags about dnsmasq.
type dhcpOptions struct {
	mode   string
	span   string
	router string
}

func (o *dhcpOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.mode, "dhcp", "proxy", "proxy (beside a DHCP server), full (addresses for Raspberry Pis) or off (a dnsmasq of your own; see netbootd dnsmasq-config)")
	f.StringVar(&o.span, "range", "", "`FIRST,LAST` address to give out with --dhcp full")
	f.StringVar(&o.router, "router", "", "`ADDRESS` of the gateway to tell with --dhcp full")
}

// config is dnsmasq's, for the TFTP root of a directory.
func (o *dhcpOptions) config(iface, tftpRoot string) (c dnsmasq.Config, err error) {
	if iface == "" {
		return c, errors.New("name the network interface that the Pis are on by --interface, or leave DHCP and TFTP to others by --dhcp off")
	}
	c = dnsmasq.Config{Mode: dnsmasq.Mode(o.mode), Interface: iface, TFTPRoot: tftpRoot}
	if c.Prefix, err = interfacePrefix(iface); err != nil {
		return c, err
	}
	if o.span != "" {
		first, last, _ := strings.Cut(o.span, ",")
		if c.First, err = netip.ParseAddr(first); err == nil {
			c.Last, err = netip.ParseAddr(last)
		}
		if err != nil {
			return c, fmt.Errorf("--range %q: %w; write it like 192.168.50.10,192.168.50.200", o.span, err)
		}
	}
	if o.router != "" {
		if c.Router, err = netip.ParseAddr(o.router); err != nil {
			return c, fmt.Errorf("--router: %w", err)
		}
	}
	return c, nil
}

// dnsmasqConfigCommand prints the configuration for a dnsmasq that somebody else runs.
func dnsmasqConfigCommand() *cobra.Command {
	var (
		o          dhcpOptions
		dir, iface string
	)
	cmd := &cobra.Command{
		Use:     "dnsmasq-config",
		Short:   "print the configuration for a dnsmasq of your own",
		Example: `  netbootd dnsmasq-config --interface eth0 > /etc/dnsmasq.d/netbootd.conf`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			abs, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			c, err := o.config(iface, filepath.Join(abs, "tftp"))
			if err != nil {
				return err
			}
			text, err := c.Text()
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", defaultDir, "`DIRECTORY` with everything netbootd keeps")
	cmd.Flags().StringVar(&iface, "interface", "", "network `INTERFACE` that the Pis are on")
	o.register(cmd.Flags())
	return cmd
}
