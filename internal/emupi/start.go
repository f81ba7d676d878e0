package emupi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

const (
	// hangAfter is how long a machine may take to start init: 3 s alone, a minute and a half
	// on a host that is ten times overloaded.
	hangAfter = 4 * time.Minute
	// hangs is how often in a row a machine may hang.
	hangs = 3
	// initStarts is what Linux prints before it does (init/main.c, run_init_process).
	initStarts = " as init process"
)

// start runs QEMU until Linux starts init. About one start in a hundred of QEMU's raspi3b
// hangs before Linux has a console. What is tested here begins with init, and nobody has
// touched a disk by then, so such a machine is switched off and on again, as one would a
// Pi, and Note is told.
func (p *Pi) start(ctx context.Context, boot *Boot) (*VM, error) {
	patience := p.patience
	if patience == 0 {
		patience = hangAfter
	}
	if p.Loaded != nil {
		p.Loaded(boot)
	}
	var hung error
	for range hangs {
		vm, err := StartVM(VMConfig{Model: p.Model, Boot: boot, Net: p.Net, Dir: p.Dir, Disks: p.Disks, MemoryMiB: p.MemoryMiB, KernelArgs: p.KernelArgs})
		if err != nil {
			return nil, err
		}
		if hung, err = vm.waitInit(ctx, patience); hung == nil && err == nil {
			return vm, nil
		}
		vm.Kill()
		if err != nil {
			return nil, err
		}
		if p.Note != nil {
			p.Note(hung.Error())
		}
	}
	return nil, hung
}

// waitInit waits until Linux starts init. A machine that stops, by a panic for instance, is
// left to whoever waits for it next. A machine that does neither has hung.
func (vm *VM) waitInit(ctx context.Context, patience time.Duration) (hung, err error) {
	tooLong := errors.New("too long")
	limited, cancel := context.WithTimeoutCause(ctx, patience, tooLong)
	defer cancel()
	switch err := vm.WaitConsole(limited, initStarts); {
	case err == nil || vm.Ended() != nil:
		return nil, nil
	case !errors.Is(err, tooLong):
		return nil, err
	}
	console, err := vm.Console()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(console), "\n")
	return fmt.Errorf("the emulated Pi hung: Linux did not start init within %v; the last it said was %q", patience, lines[len(lines)-1]), nil
}
