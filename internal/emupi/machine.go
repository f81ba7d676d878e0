package emupi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openseastack/netboot-imager/internal/lab"
)

// machine is a QEMU machine that stands in for a Pi.
type machine struct {
	args   []string
	serial string // what boot loaders put in the place of serial0 on the command line
	nic    string // with %s for the MAC address
	// disks are devices, each for the drive with its number; empty for an SD card. Two
	// NVMe disks would get their names in the order Linux happens to find them.
	disks   []string
	dtb     bool     // give it the device tree that was fetched; otherwise QEMU has its own
	cmdline []string // what this emulation needs
	askMTU  string   // what it needs besides where DHCP tells an MTU
	memory  int      // MiB
	pow2    bool     // the disk's size must be a power of two
}

var (
	// QEMU's raspi3b has always 1 GiB of RAM.
	raspi3b = machine{
		args: []string{"-M", "raspi3b", "-serial", "null"}, serial: "ttyS0,115200",
		nic: "usb-net,netdev=n0,mac=%s", disks: []string{""}, dtb: true, memory: 1024, pow2: true,
		cmdline: []string{
			// QEMU resets at once when the watchdog is armed, which gokrazy does.
			"initcall_blacklist=bcm2835_wdt_driver_init",
			// hw/usb/hcd-dwc2.c in QEMU asks for this one.
			"dwc_otg.fiq_fsm_enable=0",
		},
		// Have the kernel ask for the MTU that makes QEMU's USB network four times as fast:
		// internal/lab says why.
		askMTU: "ip=:::::eth0:dhcp",
	}
	virt = machine{
		args: []string{"-M", "virt", "-cpu", "cortex-a72", "-smp", "2"}, serial: "ttyAMA0,115200",
		nic: "virtio-net-pci,netdev=n0,mac=%s,romfile=", disks: []string{"nvme,drive=d0,serial=EMUPI", "virtio-blk-pci,drive=d1"}, memory: 1024,
	}
)

// VMConfig is a machine to start.
type VMConfig struct {
	Model *Model
	Boot  *Boot
	Net   lab.Network
	// Dir holds the files that QEMU is given and the console log.
	Dir string
	// Disks are image files, the first one being Model.Disk.
	Disks []string
	// Console is the log's name in Dir, console.log unless set. It is appended to.
	Console string
	// MemoryMiB is 1024 unless set; only virt-nvme can have another amount.
	MemoryMiB int
	// KernelArgs are added to the command line.
	KernelArgs []string
}

// VM is a running machine.
type VM struct {
	proc    *lab.Process
	console string
	stderr  string
	from    int64 // where this run's part of the console log begins
}

// StartVM starts QEMU with what a boot loader loaded.
func StartVM(cfg VMConfig) (*VM, error) {
	m := cfg.Model.machine
	if m == nil {
		return nil, fmt.Errorf("QEMU cannot run a Raspberry Pi %s: only the fetching is played", cfg.Model.Name)
	}
	if len(cfg.Disks) > len(m.disks) {
		return nil, fmt.Errorf("a Raspberry Pi %s has at most %d disks here", cfg.Model.Name, len(m.disks))
	}
	if cfg.Console == "" {
		cfg.Console = "console.log"
	}
	vm := &VM{console: filepath.Join(cfg.Dir, cfg.Console), stderr: filepath.Join(cfg.Dir, "qemu.log")}
	args, err := vm.args(cfg, m)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(vm.stderr)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("qemu-system-aarch64", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if st, err := os.Stat(vm.console); err == nil {
		vm.from = st.Size()
	}
	vm.proc, err = cfg.Net.Start(cmd)
	if err != nil {
		return nil, fmt.Errorf("starting QEMU (tools/install-deps.sh demo installs it): %w", err)
	}
	return vm, nil
}

func (vm *VM) args(cfg VMConfig, m *machine) ([]string, error) {
	memory := m.memory
	if cfg.MemoryMiB != 0 {
		if m.pow2 && cfg.MemoryMiB != memory {
			return nil, fmt.Errorf("QEMU's Raspberry Pi %s always has %d MiB of RAM", cfg.Model.Name, memory)
		}
		memory = cfg.MemoryMiB
	}
	cmdline := strings.ReplaceAll(cfg.Boot.Cmdline, "console=serial0,115200", "console="+m.serial)
	words := append([]string{cmdline}, m.cmdline...)
	if m.askMTU != "" && cfg.Net.TellsMTU() {
		words = append(words, m.askMTU)
	}
	cmdline = strings.Join(append(words, cfg.KernelArgs...), " ")
	args := append([]string{"-m", strconv.Itoa(memory), "-nodefaults", "-display", "none", "-no-reboot",
		"-chardev", "file,id=con,append=on,path=" + vm.console, "-append", cmdline}, m.args...)
	args = append(args, "-serial", "chardev:con",
		"-netdev", cfg.Net.QEMUNetdev(), "-device", fmt.Sprintf(m.nic, cfg.Model.MAC))
	type loaded struct {
		flag, name string
		data       []byte
	}
	kernel, err := cfg.Boot.Image()
	if err != nil {
		return nil, fmt.Errorf("unpacking the kernel: %w", err)
	}
	files := []loaded{{"-kernel", "kernel", kernel}, {"-initrd", "initramfs", cfg.Boot.Initramfs}}
	dtb := cfg.Boot.DTB
	if !m.dtb {
		if dtb, err = ownDTB(m, memory, cfg.Dir); err != nil {
			return nil, err
		}
	}
	if len(dtb) > 0 {
		// Boot loaders tell Linux the serial number.
		dtb, err := setSerial(dtb, cfg.Model.Serial)
		if err != nil {
			return nil, err
		}
		files = append(files, loaded{"-dtb", "dtb", dtb})
	}
	for _, f := range files {
		if len(f.data) == 0 {
			continue
		}
		path := filepath.Join(cfg.Dir, f.name)
		if err := os.WriteFile(path, f.data, 0o600); err != nil {
			return nil, err
		}
		args = append(args, f.flag, path)
	}
	for i, disk := range cfg.Disks {
		drive := fmt.Sprintf("file=%s,format=raw,id=d%d", strings.ReplaceAll(disk, ",", ",,"), i)
		if m.disks[i] == "" {
			args = append(args, "-drive", drive+",if=sd")
			continue
		}
		args = append(args, "-drive", drive+",if=none", "-device", m.disks[i])
	}
	return args, nil
}

// ownDTB asks QEMU for the device tree that it makes for a machine.
func ownDTB(m *machine, memory int, dir string) ([]byte, error) {
	path := filepath.Join(dir, "own.dtb")
	args := slices.Clone(m.args)
	args[slices.Index(args, "-M")+1] += ",dumpdtb=" + strings.ReplaceAll(path, ",", ",,")
	args = append(args, "-m", strconv.Itoa(memory), "-nodefaults", "-display", "none")
	if out, err := exec.Command("qemu-system-aarch64", args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("asking QEMU for its device tree: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return os.ReadFile(path)
}

// CreateDisk makes an empty disk for the model, of size bytes: 512-byte blocks, and a
// power of two on an SD card.
func CreateDisk(m *Model, path string, size int64) error {
	if m.machine != nil && m.machine.pow2 && size&(size-1) != 0 {
		return fmt.Errorf("an emulated SD card's size must be a power of two, and %d bytes are not", size)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// Console is the console's output since this machine was started.
func (vm *VM) Console() (string, error) {
	b, err := os.ReadFile(vm.console)
	if err != nil {
		return "", err
	}
	return string(b[min(vm.from, int64(len(b))):]), nil
}

// Ended says whether QEMU has ended or the kernel has stopped for good.
func (vm *VM) Ended() error {
	select {
	case <-vm.proc.Done:
		out, _ := os.ReadFile(vm.stderr) // it only explains
		return fmt.Errorf("QEMU ended (%v): %s", vm.proc.Err(), strings.TrimSpace(string(out)))
	default:
	}
	if s, err := vm.Console(); err == nil && strings.Contains(s, "Kernel panic") {
		_, why, _ := strings.Cut(s, "Kernel panic")
		why, _, _ = strings.Cut(why, "\n")
		return fmt.Errorf("the kernel stopped: Kernel panic%s", strings.TrimSpace(why))
	}
	return nil
}

// WaitConsole waits until the console shows text.
func (vm *VM) WaitConsole(ctx context.Context, text string) error {
	return vm.poll(ctx, fmt.Sprintf("%q on the console", text), func() (bool, error) {
		s, err := vm.Console()
		return err == nil && strings.Contains(s, text), nil
	})
}

// WaitReset waits until the machine asks to be started again: QEMU ends, or Linux says
// that it restarts, which the emulated Pi 3 cannot do without its watchdog.
func (vm *VM) WaitReset(ctx context.Context) error {
	err := vm.poll(ctx, "the reboot", func() (bool, error) {
		select {
		case <-vm.proc.Done:
			return true, vm.proc.Err()
		default:
		}
		s, err := vm.Console()
		return err == nil && strings.Contains(s, "reboot: Restarting system"), nil
	})
	if err == nil {
		vm.Kill()
	}
	return err
}

func (vm *VM) poll(ctx context.Context, what string, ok func() (bool, error)) error {
	for {
		done, err := ok()
		if err != nil || done {
			return err
		}
		if err := vm.Ended(); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Kill pulls the plug.
func (vm *VM) Kill() { vm.proc.Kill() }
