package emupi

import (
	"fmt"
	"strings"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// family is a kind of boot loader.
type family int

const (
	pi3 family = 3 // boot ROM, bootcode.bin, start.elf
	pi4 family = 4 // EEPROM, start4.elf
	pi5 family = 5 // EEPROM alone
)

// Model is a Raspberry Pi.
type Model struct {
	// Name as in -model.
	Name string
	// Serial number, 16 hex digits, of the emulated one.
	Serial string
	// MAC address of its network adapter. The prefix is a real Pi's: with a locally
	// administered address Linux would name the interface usb0, and gokrazy's DHCP
	// client serves eth0.
	MAC string
	// Disk is what Linux calls its disk, /dev/mmcblk0 or /dev/nvme0n1; empty if QEMU
	// does not run this model and only the fetching is played.
	Disk string

	family  family
	filters []string // sections of config.txt that hold for it
	dtbs    []string // device trees it looks for, best first
	overlay string   // what it needs on top of any but the best one
	blksize int      // of TFTP blocks, after the boot ROM
	machine *machine
}

// models in the order they are listed.
var models = []Model{
	{Name: "3b", family: pi3, filters: []string{"pi3"}, dtbs: []string{"bcm2710-rpi-3-b.dtb"}, machine: &raspi3b, Disk: "/dev/mmcblk0",
		Serial: "00000000b3e4d01a", MAC: "b8:27:eb:e4:d0:1a"},
	{Name: "3b+", family: pi3, filters: []string{"pi3", "pi3+"}, dtbs: []string{"bcm2710-rpi-3-b-plus.dtb"},
		Serial: "00000000b3e4d02b", MAC: "b8:27:eb:e4:d0:2b"},
	{Name: "cm3", family: pi3, filters: []string{"pi3"}, dtbs: []string{"bcm2710-rpi-cm3.dtb"},
		Serial: "00000000b3e4d03c", MAC: "b8:27:eb:e4:d0:3c"},
	{Name: "4b", family: pi4, filters: []string{"pi4"}, dtbs: []string{"bcm2711-rpi-4-b.dtb"},
		Serial: "10000000b4e4d04a", MAC: "dc:a6:32:e4:d0:4a"},
	{Name: "400", family: pi4, filters: []string{"pi4", "pi400"}, dtbs: []string{"bcm2711-rpi-400.dtb"},
		Serial: "10000000b4e4d05b", MAC: "dc:a6:32:e4:d0:5b"},
	{Name: "cm4", family: pi4, filters: []string{"pi4", "cm4"}, dtbs: []string{"bcm2711-rpi-cm4.dtb"},
		Serial: "10000000b4e4d06c", MAC: "dc:a6:32:e4:d0:6c"},
	{Name: "cm4s", family: pi4, filters: []string{"pi4", "cm4s"}, dtbs: []string{"bcm2711-rpi-cm4s.dtb"},
		Serial: "10000000b4e4d07d", MAC: "dc:a6:32:e4:d0:7d"},
	{Name: "5", family: pi5, filters: []string{"pi5"}, dtbs: []string{"bcm2712-rpi-5-b.dtb"},
		Serial: "5f0c1e11b5e4d08a", MAC: "2c:cf:67:e4:d0:8a"},
	{Name: "5-d0", family: pi5, filters: []string{"pi5"}, dtbs: []string{"bcm2712d0-rpi-5-b.dtb", "bcm2712-rpi-5-b.dtb"}, overlay: "bcm2712d0",
		Serial: "5f0c1e11b5e4d09b", MAC: "2c:cf:67:e4:d0:9b"},
	{Name: "500", family: pi5, filters: []string{"pi5", "pi500"}, dtbs: []string{"bcm2712-rpi-500.dtb"},
		Serial: "5f0c1e11b5e4d10c", MAC: "2c:cf:67:e4:d1:0c"},
	{Name: "cm5", family: pi5, filters: []string{"pi5", "cm5"}, dtbs: []string{"bcm2712-rpi-cm5-cm5io.dtb"},
		Serial: "5f0c1e11b5e4d11d", MAC: "2c:cf:67:e4:d1:1d"},
	{Name: "cm5-cm4io", family: pi5, filters: []string{"pi5", "cm5"}, dtbs: []string{"bcm2712-rpi-cm5-cm4io.dtb"},
		Serial: "5f0c1e11b5e4d12e", MAC: "2c:cf:67:e4:d1:2e"},
	{Name: "cm5l", family: pi5, filters: []string{"pi5", "cm5"}, dtbs: []string{"bcm2712-rpi-cm5l-cm5io.dtb"},
		Serial: "5f0c1e11b5e4d13f", MAC: "2c:cf:67:e4:d1:3f"},
	{Name: "cm5l-cm4io", family: pi5, filters: []string{"pi5", "cm5"}, dtbs: []string{"bcm2712-rpi-cm5l-cm4io.dtb"},
		Serial: "5f0c1e11b5e4d14a", MAC: "2c:cf:67:e4:d1:4a"},
	// A machine that never was: it fetches as a Pi 5 does and has an NVMe disk, in
	// QEMU's generic machine with QEMU's own device tree.
	{Name: "virt-nvme", family: pi5, filters: []string{"pi5"}, dtbs: []string{"bcm2712-rpi-5-b.dtb"}, machine: &virt, Disk: "/dev/nvme0n1",
		Serial: "5f0c1e11b5e4d15b", MAC: "2c:cf:67:e4:d1:5b"},
}

// ByName returns the model with that name.
func ByName(name string) (*Model, error) {
	for i := range models {
		if models[i].Name == name {
			m := models[i]
			m.blksize = map[family]int{pi3: 1024, pi4: 1468, pi5: 1468}[m.family]
			return &m, nil
		}
	}
	return nil, fmt.Errorf("no model %q; there are %s", name, strings.Join(Names(), ", "))
}

// Names of all models.
func Names() []string {
	var names []string
	for _, m := range models {
		names = append(names, m.Name)
	}
	return names
}

// Runs says whether QEMU can run the model; of the others only the fetching is played.
func (m *Model) Runs() bool { return m.machine != nil }

// Prefix is the directory in which the model looks for its files over TFTP: the last
// eight hex digits of its serial number.
func (m *Model) Prefix() string { return m.Serial[len(m.Serial)-8:] + "/" }

// SetSerial gives it another serial number, of 8 or 16 hex digits.
func (m *Model) SetSerial(serial string) error {
	if _, err := netboot.StationDir(serial); err != nil {
		return err
	}
	m.Serial = strings.ToLower(fmt.Sprintf("%016s", serial))
	return nil
}
