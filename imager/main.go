// Command imager writes operating system images to a Raspberry Pi's own disks when asked
// over HTTP: see docs/architecture.md and the README.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/openseastack/netboot-imager/internal/config"
	"github.com/openseastack/netboot-imager/internal/disk"
)

func main() {
	// One more than there are cores: the scheduler would give the decoder's to a digest
	// every ten milliseconds, where the kernel knows that the decoder comes first.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	host := environment{system: disk.Host, configPaths: config.Paths}
	if _, err := os.Stat("/gokrazy/init"); err == nil { // nobody else's LED and console are taken
		host.leds, host.screen, host.station = host.system.Sys, screenOf(host.system.Sys), true
	}
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr, host); err != nil {
		fmt.Fprintf(os.Stderr, "imager: %v\n", err)
		os.Exit(1)
	}
	if ctx.Err() != nil && rebootable() == nil {
		// gokrazy restarts a program by SIGTERM (`gok run` does that, too), and does not
		// start one again that exits with status 0. A stop is a stop in any case.
		os.Exit(1)
	}
}
