package vcmailbox

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func fake(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "vcio")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSetBootOrder(t *testing.T) {
	var got [7]uint32
	err := setBootOrder(fake(t), "Raspberry Pi 5 Model B Rev 1.0", 0xf26, func(_, request uintptr, m *[7]uint32) error {
		got = *m
		m[1], m[4] = successCode, successCode|4
		if request != 0xc0086400 {
			t.Errorf("request %x", request)
		}
		return nil
	})
	if want := [7]uint32{28, 0, 0x0003808b, 4, 4, 0xf26, 0}; err != nil || got != want {
		t.Errorf("%x, %v, want %x", got, err, want)
	}
}

func TestOldFirmware(t *testing.T) {
	err := setBootOrder(fake(t), "Raspberry Pi Compute Module 5 Rev 1.0", 0xf21, func(_, _ uintptr, m *[7]uint32) error {
		m[1] = successCode // the message was read, the tag was not known
		return nil
	})
	if err == nil {
		t.Error("a firmware that does not know the tag was believed")
	}
}

// TestOtherModels never asks their firmware.
func TestOtherModels(t *testing.T) {
	for _, model := range []string{"", "Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 400 Rev 1.0", "Raspberry Pi Compute Module 4 Rev 1.0",
		"Raspberry Pi 3 Model B Rev 1.2", "Raspberry Pi Zero 2 W Rev 1.0", "linux,dummy-virt", "Raspberry Pi 50"} {
		err := setBootOrder(fake(t), model, 0xf21, func(_, _ uintptr, _ *[7]uint32) error {
			t.Errorf("the firmware of %q was asked", model)
			return nil
		})
		var unsupported *UnsupportedError
		if !errors.As(err, &unsupported) {
			t.Errorf("%q: %v", model, err)
		}
	}
	for _, model := range []string{"Raspberry Pi 5 Model B Rev 1.0", "Raspberry Pi 500 Rev 1.0", "Raspberry Pi Compute Module 5 Lite Rev 1.0"} {
		if !Supports(model) {
			t.Errorf("%q is not supported", model)
		}
	}
}

func TestOrderFor(t *testing.T) {
	for device, want := range map[string]uint32{"/dev/mmcblk0": 0xf21, "/dev/nvme0n1": 0xf26, "/dev/sda": 0xf24, "/tmp/disk.img": 0} {
		if got, err := OrderFor(device); got != want || (err == nil) != (want != 0) {
			t.Errorf("OrderFor(%s) = %x, %v, want %x", device, got, err, want)
		}
	}
}
