//go:build for_go_mod_tidy_only

// Package builddir pins, by its go.mod, everything the appliance is built from:
// kernel, boot firmware, gokrazy's own programs and the imager of this checkout.
// It is never compiled; the imports are what `go mod tidy` needs to see.
package builddir

import (
	_ "github.com/gokrazy/firmware"
	_ "github.com/gokrazy/gokrazy"
	_ "github.com/gokrazy/gokrazy/cmd/dhcp"
	_ "github.com/gokrazy/gokrazy/cmd/ntp"
	_ "github.com/gokrazy/gokrazy/cmd/randomd"
	_ "github.com/gokrazy/kernel.rpi"
	_ "github.com/openseastack/netboot-imager/imager"
)
