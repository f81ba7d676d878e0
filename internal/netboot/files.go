package netboot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"

	"github.com/openseastack/netboot-imager/internal/fatfs"
)

// Names in the tree that config.txt refers to.
const (
	kernelName    = "vmlinuz.gz"
	initramfsName = "initramfs.cpio.zst"
	configName    = "config.txt"
	cmdlineName   = "cmdline.txt"
	bootImgName   = "boot.img"
	sdcardName    = "sdcard.img"
	manifestName  = "manifest.json"
	bootcodeName  = "bootcode.bin"
)

// kernelSource is the kernel's name in gokrazy's boot file system. In spite of that
// name it is an uncompressed arm64 Image.
const kernelSource = "vmlinuz"

// firmware is what boot loaders fetch before they read config.txt: the boot ROM of a
// Pi 3 fetches bootcode.bin, that fetches start.elf and fixup.dat, and a Pi 4's EEPROM
// fetches start4.elf and fixup4.dat. A Pi 5 has all of it in its EEPROM.
var firmware = []string{"bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"}

// deviceTrees are those of every model that has a wired network adapter or a socket
// for one and a 64-bit processor, in all steppings.
var deviceTrees = []string{
	// Pi 3
	"bcm2710-rpi-3-b.dtb", "bcm2710-rpi-3-b-plus.dtb", "bcm2710-rpi-cm3.dtb",
	// Pi 4
	"bcm2711-rpi-4-b.dtb", "bcm2711-rpi-400.dtb", "bcm2711-rpi-cm4.dtb", "bcm2711-rpi-cm4s.dtb",
	// Pi 5; d0 is the second stepping of its processor
	"bcm2712-rpi-5-b.dtb", "bcm2712d0-rpi-5-b.dtb", "bcm2712-rpi-500.dtb",
	"bcm2712-rpi-cm5-cm5io.dtb", "bcm2712-rpi-cm5-cm4io.dtb",
	"bcm2712-rpi-cm5l-cm5io.dtb", "bcm2712-rpi-cm5l-cm4io.dtb",
}

// overlays are those that config.txt names, the map that says which overlay is for
// which model, and the one that boot loaders apply by themselves to a Pi 5 of the
// second stepping when its own device tree is missing.
var overlays = []string{"overlays/overlay_map.dtb", "overlays/bcm2712d0.dtbo", "overlays/dwc2.dtbo"}

// readBoot takes the firmware, device trees, overlays and the kernel from gokrazy's
// boot file system.
func readBoot(r io.ReaderAt) (files []fatfs.File, kernel []byte, err error) {
	boot, err := fatfs.New(r)
	if err != nil {
		return nil, nil, fmt.Errorf("reading gokrazy's boot file system: %w", err)
	}
	for _, names := range [][]string{firmware, deviceTrees, overlays} {
		for _, name := range names {
			b, err := boot.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil, fmt.Errorf("gokrazy's boot file system lacks %s: build it with kernel.rpi and firmware packages that have it (gokrazy-instance/builddir/go.mod)", name)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("reading gokrazy's boot file system: %w", err)
			}
			files = append(files, fatfs.File{Name: name, Data: b})
		}
	}
	kernel, err = boot.ReadFile(kernelSource)
	if err != nil {
		return nil, nil, fmt.Errorf("reading gokrazy's boot file system: %w", err)
	}
	// Documentation/arch/arm64/booting.rst, "Call the kernel image".
	if len(kernel) < 64 || string(kernel[56:60]) != "ARM\x64" {
		return nil, nil, fmt.Errorf("%s in gokrazy's boot file system is not a 64-bit ARM kernel", kernelSource)
	}
	return files, kernel, nil
}

// writeKernel compresses the kernel. Boot loaders unpack gzip, which they know by its
// first bytes, since September 2020, and no other format.
func writeKernel(w io.Writer, kernel []byte) error {
	zw, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := zw.Write(kernel); err != nil {
		return fmt.Errorf("compressing the kernel: %w", err)
	}
	if err := zw.Close(); err != nil {
		return fmt.Errorf("compressing the kernel: %w", err)
	}
	return nil
}
