package emupi

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/openseastack/netboot-imager/internal/lab"
)

// Pi is an emulated Raspberry Pi on a network, with its disks.
type Pi struct {
	Model *Model
	Net   lab.Network
	// Dir holds its files; console.log there is the log of its serial console.
	Dir string
	// Disks are image files, the first one being Model.Disk.
	Disks []string
	// MemoryMiB is the model's usual amount unless set.
	MemoryMiB int
	// KernelArgs are added to each kernel command line.
	KernelArgs []string
	// Report is called for each file that the boot loader asks for, unless it is nil.
	Report func(Request)
	// Loaded is called when the boot loader has all that it wants and Linux starts, unless
	// it is nil.
	Loaded func(*Boot)
	// Note is told when the emulator hung and was started again, unless it is nil.
	Note func(string)

	patience time.Duration // with a machine before init; hangAfter if 0
}

// Netboot turns it on with the network as its boot device, and waits until Linux starts
// init or panics.
func (p *Pi) Netboot(ctx context.Context) (*VM, *Boot, error) {
	boot, err := p.Model.Netboot(ctx, p.Net.TFTPAddr(), p.Net.Do, p.Report)
	if err != nil {
		return nil, boot, err
	}
	vm, err := p.start(ctx, boot)
	return vm, boot, err
}

// BootDisk turns it on with its first disk as its boot device, and waits until Linux
// starts init or panics.
func (p *Pi) BootDisk(ctx context.Context) (*VM, *Boot, error) {
	if len(p.Disks) == 0 {
		return nil, nil, fmt.Errorf("this Raspberry Pi %s has no disk", p.Model.Name)
	}
	f, err := os.Open(p.Disks[0])
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	boot, err := p.Model.CardBoot(ctx, f, p.Report)
	if err != nil {
		return nil, boot, err
	}
	vm, err := p.start(ctx, boot)
	return vm, boot, err
}

// Station returns what is reached at one of its ports, once it is on the network.
func (p *Pi) Station(port int) *Station {
	return &Station{net: p.Net, mac: p.Model.MAC, port: port, client: lab.Client(p.Net)}
}

// pollInterval is how often a machine that boots is looked at.
const pollInterval = 100 * time.Millisecond
