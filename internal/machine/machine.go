// Package machine tells what machine the program runs on, and how it is: model, serial
// number, address, memory, temperature. It only reads the kernel's /proc and /sys; what
// a machine does not have is left empty, never an error.
package machine

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// System is where the kernel tells about the machine. The zero value is not usable; tests
// use other roots, everybody else Host.
type System struct {
	Proc string // "/proc"
	Sys  string // "/sys"
}

// Host is the running system.
var Host = System{Proc: "/proc", Sys: "/sys"}

// Facts describe a machine. Sizes are in bytes.
type Facts struct {
	Hostname string `json:"hostname"`
	Model    string `json:"model"`  // "Raspberry Pi 4 Model B Rev 1.4"; "" if the machine has no device tree
	Serial   string `json:"serial"` // 16 hex digits; "" likewise
	MAC      string `json:"mac"`    // of the first network interface, "dc:a6:32:01:02:03"

	UptimeSeconds   int64 `json:"uptime_seconds"`
	MemoryTotal     int64 `json:"memory_total"`
	MemoryAvailable int64 `json:"memory_available"`

	// TemperatureCelsius is the processor's; nil if there is no sensor.
	TemperatureCelsius *float64 `json:"temperature_celsius"`
	// BootedFrom is what the Pi's boot loader loaded the kernel from: "network", "sd",
	// "nvme" and so on; "" if the boot loader does not tell (before the Pi 4).
	BootedFrom string `json:"booted_from,omitempty"`
}

// Facts returns what is known now.
func (s System) Facts() Facts {
	f := Facts{
		Hostname:        s.text("sys/kernel/hostname"),
		Model:           s.Model(),
		Serial:          s.Serial(),
		MAC:             s.mac(),
		UptimeSeconds:   s.uptime(),
		MemoryTotal:     s.memory("MemTotal"),
		MemoryAvailable: s.memory("MemAvailable"),
		BootedFrom:      s.bootedFrom(),
	}
	if t, ok := s.Temperature(); ok {
		f.TemperatureCelsius = &t
	}
	return f
}

// Model returns the machine's model from the device tree; "" if it has none.
func (s System) Model() string { return s.text("device-tree/model") }

// Serial returns the machine's serial number from the device tree; "" if it has none.
func (s System) Serial() string { return s.text("device-tree/serial-number") }

// MemoryAvailable returns how many bytes programs can still get without swapping.
func (s System) MemoryAvailable() int64 { return s.memory("MemAvailable") }

// Temperature returns the processor's temperature in degrees Celsius: of the thermal zone
// that is named after the CPU, else of the first one
// (Documentation/driver-api/thermal/sysfs-api.rst).
func (s System) Temperature() (celsius float64, ok bool) {
	zones, _ := filepath.Glob(filepath.Join(s.Sys, "class/thermal/thermal_zone*"))
	slices.SortStableFunc(zones, func(a, b string) int { return rank(a) - rank(b) })
	for _, zone := range zones {
		// A sensor may be there and refuse to be read.
		if milli, err := strconv.ParseInt(line(filepath.Join(zone, "temp")), 10, 64); err == nil {
			return float64(milli) / 1000, true
		}
	}
	return 0, false
}

// rank is 0 for the CPU's thermal zone and 1 for others.
func rank(zone string) int {
	if strings.Contains(line(filepath.Join(zone, "type")), "cpu") {
		return 0
	}
	return 1
}

// mac returns the hardware address of the network interface that is up, by name; real
// interfaces come before virtual ones (Documentation/ABI/testing/sysfs-class-net).
func (s System) mac() string {
	links, _ := filepath.Glob(filepath.Join(s.Sys, "class/net/*"))
	var best string
	bestScore := -1
	for _, link := range links {
		mac := line(filepath.Join(link, "address"))
		if mac == "" || strings.Trim(mac, "0:") == "" { // loopback
			continue
		}
		score := 0
		if _, err := os.Stat(filepath.Join(link, "device")); err == nil {
			score += 2
		}
		if line(filepath.Join(link, "operstate")) == "up" {
			score++
		}
		if score > bestScore {
			best, bestScore = mac, score
		}
	}
	return best
}

func (s System) uptime() int64 {
	seconds, _, _ := strings.Cut(s.text("uptime"), ".")
	n, _ := strconv.ParseInt(seconds, 10, 64)
	return n
}

// memory returns a line of /proc/meminfo in bytes; 0 if there is none.
func (s System) memory(name string) int64 {
	b, _ := os.ReadFile(filepath.Join(s.Proc, "meminfo"))
	for line := range strings.Lines(string(b)) {
		if kib, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kib), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// bootModes are the values of BOOT_ORDER in the Pi's boot loader configuration, which the
// device tree's chosen/bootloader/boot-mode uses, too
// (raspberrypi.com/documentation/computers/raspberry-pi.html, "Raspberry Pi boot EEPROM").
var bootModes = map[uint32]string{
	0: "sd", 1: "sd", 2: "network", 3: "rpiboot", 4: "usb", 5: "usb", 6: "nvme", 7: "http",
}

func (s System) bootedFrom() string {
	b, err := os.ReadFile(filepath.Join(s.Proc, "device-tree/chosen/bootloader/boot-mode"))
	if err != nil || len(b) != 4 {
		return ""
	}
	return bootModes[binary.BigEndian.Uint32(b)] // device tree cells are big-endian
}

// Text returns a file below Proc without what ends it; "" if there is none.
func (s System) Text(name string) string { return s.text(name) }

// text is a file below Proc without what ends it: a line feed, or a device tree's zero.
func (s System) text(name string) string { return line(filepath.Join(s.Proc, name)) }

func line(file string) string {
	b, _ := os.ReadFile(file)
	return string(bytes.TrimRight(b, "\x00\n"))
}
