package emupi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Device is what a Pi boots from.
type Device string

const (
	// Network is TFTP.
	Network Device = "network"
	// Disk is its first disk: SD card, eMMC or NVMe.
	Disk Device = "disk"
)

// ParseOrder parses a boot order such as "disk,network".
func ParseOrder(s string) ([]Device, error) {
	var order []Device
	for name := range strings.SplitSeq(s, ",") {
		switch d := Device(name); d {
		case Network, Disk:
			order = append(order, d)
		default:
			return nil, fmt.Errorf("boot order %q: it must be %s, %s, or both with a comma between them", s, Network, Disk)
		}
	}
	return order, nil
}

// Boot turns the Pi on. It takes the first device of the order that boots, as a Pi goes
// through its BOOT_ORDER.
func (p *Pi) Boot(ctx context.Context, order ...Device) (*VM, *Boot, error) {
	var errs []error
	for _, d := range order {
		boot := p.Netboot
		if d == Disk {
			boot = p.BootDisk
		}
		vm, b, err := boot(ctx)
		if err == nil {
			return vm, b, nil
		}
		errs = append(errs, fmt.Errorf("booting from the %s: %w", d, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, errors.Join(errs...)
}

// Power is a Pi that stays turned on: each time its machine resets, the boot loader is
// played again from the start, as a Pi's firmware does. What boots then is what the disk
// holds then, for instance the other one of gokrazy's two root partitions.
type Power struct {
	// config
	pi    *Pi
	order []Device

	// state
	stop context.CancelFunc
	done chan struct{}

	mu    sync.Mutex
	vm    *VM
	boots int
	err   error // that ended it
}

// Keep takes over a machine that runs, and boots it again in that order after each
// reset, until ctx ends, Off is called or nothing boots.
func (p *Pi) Keep(ctx context.Context, vm *VM, order ...Device) *Power {
	ctx, stop := context.WithCancel(ctx)
	w := &Power{pi: p, order: order, stop: stop, done: make(chan struct{}), vm: vm, boots: 1}
	go func() {
		defer close(w.done)
		err := w.run(ctx)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = err
		w.vm.Kill()
	}()
	return w
}

// PowerOn is Boot and Keep.
func (p *Pi) PowerOn(ctx context.Context, order ...Device) (*Power, *Boot, error) {
	vm, boot, err := p.Boot(ctx, order...)
	if err != nil {
		return nil, nil, err
	}
	return p.Keep(ctx, vm, order...), boot, nil
}

func (w *Power) run(ctx context.Context) error {
	for {
		w.mu.Lock()
		vm := w.vm
		w.mu.Unlock()
		if err := vm.WaitReset(ctx); err != nil {
			return err
		}
		vm, _, err := w.pi.Boot(ctx, w.order...)
		if err != nil {
			return fmt.Errorf("after a reset: %w", err)
		}
		w.mu.Lock()
		w.vm = vm
		w.boots++
		w.mu.Unlock()
	}
}

// Boots is how often it has booted: 1 until the first reset.
func (w *Power) Boots() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.boots
}

// Ended says why it does not run any more, or nil while it does.
func (w *Power) Ended() error {
	select {
	case <-w.done:
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err
	default:
		return nil
	}
}

// Done is closed when it has ended.
func (w *Power) Done() <-chan struct{} { return w.done }

// Off pulls the plug.
func (w *Power) Off() {
	w.stop()
	<-w.done
}
