// Package vcmailbox asks a Raspberry Pi's firmware, through the property mailbox that Linux
// has as /dev/vcio (drivers/char/broadcom/vcio.c in Raspberry Pi's kernel).
package vcmailbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Device is the mailbox.
const Device = "/dev/vcio"

// tagSetRebootOrder sets BOOT_ORDER for the next boot alone. Boot loaders have it since
// 2025-01-14, for the BCM2712 (rpi-eeprom, firmware-2712/release-notes.md).
const tagSetRebootOrder = 0x0003808b

const (
	// ioctlProperty is IOCTL_MBOX_PROPERTY, _IOWR(100, 0, char *), where pointers have 64 bits.
	ioctlProperty = 0xc0086400

	requestCode = 0          // in a message's second word: a request
	successCode = 0x80000000 // and its answer
)

// UnsupportedError is a machine whose firmware has no one-time boot order. Nothing was asked.
type UnsupportedError struct{ Model string }

func (e *UnsupportedError) Error() string {
	model := e.Model
	if model == "" {
		model = "a machine that names no model"
	}
	return fmt.Sprintf("%s has no one-time boot order; only the Raspberry Pi 5, 500 and Compute Module 5 have", model)
}

// Supports reports whether a machine with this name in its device tree has a one-time boot
// order: the ones with a BCM2712.
func Supports(model string) bool {
	for _, name := range []string{"Raspberry Pi 5 ", "Raspberry Pi 500", "Raspberry Pi Compute Module 5 "} {
		if strings.HasPrefix(model+" ", name) {
			return true
		}
	}
	return false
}

// OrderFor is the BOOT_ORDER that tries the disk first, then the network, and so on again.
// It is read from the right: 1 is the SD card or eMMC, 2 the network, 4 a USB disk, 6 NVMe,
// f begins anew.
func OrderFor(device string) (uint32, error) {
	for prefix, order := range map[string]uint32{"/dev/mmcblk": 0xf21, "/dev/nvme": 0xf26, "/dev/sd": 0xf24} {
		if strings.HasPrefix(device, prefix) {
			return order, nil
		}
	}
	return 0, fmt.Errorf("a Raspberry Pi cannot boot from %s", device)
}

// ioctl is the call, for tests.
type ioctl func(fd uintptr, request uintptr, message *[7]uint32) error

// SetBootOrder sets BOOT_ORDER for the next boot of a machine of this model, through the
// mailbox at path. On other models it asks nothing and returns an *UnsupportedError.
func SetBootOrder(path, model string, order uint32) error {
	return setBootOrder(path, model, order, func(fd, request uintptr, message *[7]uint32) error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(message))); errno != 0 {
			return errno
		}
		return nil
	})
}

func setBootOrder(path, model string, order uint32, call ioctl) error {
	if !Supports(model) {
		return &UnsupportedError{model}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("asking the firmware for a one-time boot order: %w", err)
	}
	defer f.Close()
	message := [7]uint32{7 * 4, requestCode, tagSetRebootOrder, 4, 4, order, 0}
	if err := call(f.Fd(), ioctlProperty, &message); err != nil {
		return fmt.Errorf("asking the firmware for a one-time boot order: %w", err)
	}
	// The answer's bit is set in the tag only if the firmware knows it.
	if message[1] != successCode || message[4]&successCode == 0 {
		return errors.New("the firmware knows no one-time boot order; update the EEPROM to one of 2025-01-14 or later")
	}
	return nil
}
