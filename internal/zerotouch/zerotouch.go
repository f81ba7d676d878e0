// Package zerotouch has a station write an image at boot because its kernel parameters
// say so: plug in, power on, wait.
//
// A station runs from RAM and remembers nothing, so "once" has to be seen on the disk.
// The image's SHA-256 must be given; a disk that carries that very image is left alone,
// and the station then neither reboots nor powers off. So the worst that a station does
// that netboots again and again is: write, reboot, look, stay.
package zerotouch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/openseastack/netboot-imager/internal/cmdline"
	"github.com/openseastack/netboot-imager/internal/station"
)

// Kernel parameters.
const (
	WriteParam  = "imager.write"  // URL of the image
	DeviceParam = "imager.device" // "" for the first allowed one
	SHA256Param = "imager.sha256" // of the decompressed image
	ThenParam   = "imager.then"   // Wait (the default), Reboot or PowerOff, after a write
)

// What to do after a write.
const (
	Wait     = "wait"
	Reboot   = "reboot"
	PowerOff = "poweroff"
)

// Task is what the parameters ask for.
type Task struct {
	Order station.Order
	Then  string
}

// Parse reads the kernel command line; nil if it asks for no write.
func Parse(line string) (*Task, error) {
	url, ok := cmdline.Get(line, WriteParam)
	if !ok {
		return nil, nil
	}
	t := &Task{Order: station.Order{ImageURL: url}, Then: Wait}
	t.Order.Device, _ = cmdline.Get(line, DeviceParam)
	t.Order.SHA256, _ = cmdline.Get(line, SHA256Param)
	if then, ok := cmdline.Get(line, ThenParam); ok {
		t.Then = then
	}
	switch t.Then {
	case Wait, PowerOff, Reboot:
	default:
		return nil, fmt.Errorf("the kernel parameter %s is %q; it must be %s, %s or %s", ThenParam, t.Then, Wait, Reboot, PowerOff)
	}
	if t.Order.SHA256 == "" {
		return nil, fmt.Errorf("the kernel parameter %s needs %s, the SHA-256 of the decompressed image: without it a station that boots again would write again", WriteParam, SHA256Param)
	}
	return t, nil
}

// Station is what does the work; *station.Server is one.
type Station interface {
	Write(ctx context.Context, o station.Order) error
	Carries(ctx context.Context, o station.Order) (bool, error)
	Restart(why string) error
}

const (
	firstRetry = 2 * time.Second
	maxRetry   = time.Minute
)

// Run carries t out: it tries until the network, the image server and the disk are
// there, gives up at what trying again does not cure, and logs what came of it. after
// waits for a duration, or less if ctx ends. It returns nil after a write,
// station.ErrCarries if none was needed, and otherwise what it gave up at.
func Run(ctx context.Context, s Station, t *Task, powerOff func() error, logf func(string, ...any), after func(context.Context, time.Duration)) error {
	for wait := firstRetry; ; wait = min(2*wait, maxRetry) {
		err := s.Write(ctx, t.Order)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, station.ErrCarries):
			logf("zero touch: %v; nothing was written, and the station stays as it is", err)
			return err
		case err == nil:
			logf("zero touch: written")
			if err := t.finish(ctx, s, powerOff); err != nil {
				logf("zero touch: the station stays as it is: %v", err)
			}
			return nil
		case !station.Retry(err):
			logf("zero touch: gave up: %v", err)
			return err
		}
		logf("zero touch: %v; trying again in %v", err, wait)
		after(ctx, wait)
	}
}

// finish does what comes after a write, if the next boot is sure to see that it is done.
func (t *Task) finish(ctx context.Context, s Station, powerOff func() error) error {
	if t.Then == Wait {
		return nil
	}
	same, err := s.Carries(ctx, t.Order)
	if err == nil && !same {
		err = errors.New("the image's end is not found on the disk, so the next boot would write it again")
	}
	switch {
	case err != nil:
		return err
	case t.Then == PowerOff:
		return powerOff()
	}
	return s.Restart("as the kernel parameter " + ThenParam + " asks for")
}

// After waits for d, or until ctx ends.
func After(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
