package emupi

import (
	"slices"
	"strings"
)

// configTxt is what a boot loader takes from config.txt. A config.txt that was not
// found is the zero value.
type configTxt struct {
	kernel      string
	initramfs   []string
	cmdline     string
	deviceTree  string
	osPrefix    string
	overlays    []string
	arm64       bool
	bootRAMDisk bool
	osCheck     bool
}

// Lines of config.txt longer than this many characters are cut.
const configLineLimit = 98

// parseConfig reads config.txt as the model's boot loader does. "include" is not
// processed, as over TFTP, and what concerns neither files nor filters is skipped.
func parseConfig(text string, m *Model) configTxt {
	c := configTxt{cmdline: "cmdline.txt", arm64: m.family != pi3, osCheck: m.family == pi5}
	model, others := true, true // do the last model filter and the last other one hold?
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if len(line) > configLineLimit {
			line = line[:configLineLimit]
		}
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if filter, ok := strings.CutPrefix(line, "["); ok {
			filter = strings.TrimSuffix(filter, "]")
			switch {
			case filter == "all":
				model, others = true, true
			case filter == "none":
				model = false
			case strings.HasPrefix(filter, "pi"), strings.HasPrefix(filter, "cm"):
				model = slices.Contains(m.filters, filter)
			case strings.HasPrefix(filter, "0x"):
				others = strings.EqualFold(strings.TrimPrefix(filter, "0x"), strings.TrimLeft(m.Serial[8:], "0"))
			default: // [tryboot], [gpio4=1], [EDID=…], …: nothing of the kind here
				others = false
			}
			continue
		}
		if model && others {
			c.line(line)
		}
	}
	return c
}

func (c *configTxt) line(line string) {
	if list, ok := strings.CutPrefix(line, "initramfs "); ok { // the one line without "="
		name, _, _ := strings.Cut(strings.TrimSpace(list), " ")
		c.initramfs = strings.Split(name, ",")
		return
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	switch key {
	case "kernel":
		c.kernel = value
	case "ramfsfile":
		c.initramfs = strings.Split(value, ",")
	case "cmdline":
		c.cmdline = value
	case "device_tree":
		c.deviceTree = value
	case "os_prefix":
		c.osPrefix = value
	case "dtoverlay":
		name, _, _ := strings.Cut(value, ",")
		if name != "" {
			c.overlays = append(c.overlays, name)
		}
	case "arm_64bit":
		c.arm64 = value != "0"
	case "arm_control":
		c.arm64 = c.arm64 || value == "0x200"
	case "boot_ramdisk":
		c.bootRAMDisk = value == "1"
	case "os_check":
		c.osCheck = c.osCheck && value != "0"
	}
}

// kernels are the kernel's possible names, in the order they are tried.
func (c *configTxt) kernels(m *Model) []string {
	switch {
	case c.kernel != "":
		return []string{c.kernel}
	case m.family == pi5:
		return []string{"kernel_2712.img", "kernel8.img"}
	case c.arm64:
		return []string{"kernel8.img"}
	case m.family == pi4:
		return []string{"kernel7l.img"}
	default:
		return []string{"kernel7.img"}
	}
}
