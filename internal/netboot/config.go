package netboot

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Layout says where in the tree the boot loaders' files are.
type Layout string

const (
	// PerSerial puts them into common/, with a link from each station's directory,
	// which is named after the last eight hex digits of its serial number. Nothing but
	// bootcode.bin is at the root, so that a Pi that is not enrolled finds nothing and
	// goes on to its next boot device.
	PerSerial Layout = "serial"
	// Flat puts them at the root, where every Pi finds them.
	Flat Layout = "flat"
)

// flatCmdlineName is the kernel command line's name in a flat tree. It is not
// cmdline.txt because pi-netboot-server writes a /tftpboot/cmdline.txt of its own
// each time it starts.
const flatCmdlineName = "netboot-imager.txt"

const (
	// maxConfig is the largest config.txt in bytes: a Pi 4 reads no more over TFTP
	// (https://github.com/raspberrypi/firmware/issues/1012).
	maxConfig = 4096
	// maxConfigLine is the longest line of config.txt in characters that all boot
	// loaders read.
	maxConfigLine = 78
	// maxCmdline is the longest kernel command line in bytes. Boot loaders take 1024
	// and put about 250 of their own in front.
	maxCmdline = 700
)

// configTxt is config.txt; see "config.txt" in Raspberry Pi's documentation for each
// line's meaning.
func configTxt(o *Options) (string, error) {
	if o.BootRAMDisk {
		// The boot loader continues in boot.img, with the config.txt in there.
		return "boot_ramdisk=1\n", nil
	}
	return stationConfig(o)
}

func stationConfig(o *Options) (string, error) {
	lines := []string{
		"[all]",
		"arm_64bit=1",
		"kernel=" + kernelName,
		"initramfs " + initramfsName + " followkernel",
		"cmdline=" + o.cmdlineName(),
		"enable_uart=" + map[bool]string{true: "1", false: "0"}[o.serialConsole() != "off"],
		"disable_splash=1",
		"boot_delay=0",
		// Boot loaders of before 2025-03-27 know no CM5 and would refuse it.
		"os_check=0",
		"[cm4]",
		"otg_mode=1", // USB ports
		"[pi5]",
		"dtparam=pciex1", // NVMe on boards that do not announce themselves
		"[cm5]",
		"dtoverlay=dwc2,dr_mode=host",
		"[all]",
	}
	lines = append(lines, o.ConfigLines...)
	for _, l := range lines {
		if len(l) > maxConfigLine || strings.ContainsAny(l, "\r\n") {
			return "", fmt.Errorf("config.txt: %q is not one line of at most %d characters, as boot loaders read them", l, maxConfigLine)
		}
	}
	s := strings.Join(lines, "\n") + "\n"
	if len(s) >= maxConfig {
		return "", fmt.Errorf("config.txt would have %d bytes, and a Pi 4 reads fewer than %d over TFTP", len(s), maxConfig)
	}
	return s, nil
}

// cmdlineTxt is the kernel command line.
func cmdlineTxt(o *Options) (string, error) {
	args := []string{"console=tty1"}
	if c := o.serialConsole(); c != "off" {
		args = append(args, "console="+c)
	}
	args = append(args,
		// gokrazy wants a root= that it knows and mounts partition 4 of that disk, so
		// it must name none of the disks to be written. No loop device is ever set up.
		"root=/dev/loop0p2",
		"panic=10", "oops=panic")
	if o.ConfigURL != "" {
		if err := checkConfigURL(o.ConfigURL); err != nil {
			return "", err
		}
		args = append(args, "imager.config_url="+o.ConfigURL)
	}
	for _, a := range o.KernelArgs {
		if strings.HasPrefix(a, "root=") {
			return "", fmt.Errorf("kernel argument %q: a station has no root disk, and gokrazy would mount the disk that is named", a)
		}
	}
	args = append(args, o.KernelArgs...)
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\r\n") {
			return "", fmt.Errorf("kernel argument %q: it must be one word", a)
		}
	}
	s := strings.Join(args, " ") + "\n"
	if len(s) > maxCmdline {
		return "", fmt.Errorf("the kernel command line would have %d bytes, more than the %d that surely fit", len(s), maxCmdline)
	}
	return s, nil
}

func checkConfigURL(s string) error {
	u, err := url.Parse(s)
	if err == nil && u.Host == "" {
		err = errors.New("it names no host")
	}
	if err == nil && u.Scheme != "http" && u.Scheme != "https" {
		err = errors.New("it is neither http nor https")
	}
	if err != nil {
		return fmt.Errorf("config URL %q: %w; give one like http://10.10.200.75:38434/api/bootstrap/imager-config", s, err)
	}
	return nil
}
