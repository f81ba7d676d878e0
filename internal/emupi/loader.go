package emupi

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/openseastack/netboot-imager/internal/fatfs"
)

// Request is one file that a boot loader asked for.
type Request struct {
	Name  string // with the prefix
	Bytes int64  // that came; 0 for one that only asked for the size
	Probe bool
	Found bool
	From  string // tftp, card or boot.img
}

// Boot is what a boot loader has in memory when it starts the kernel.
type Boot struct {
	Kernel    []byte // as it was fetched; see Image
	Initramfs []byte
	DTB       []byte
	Cmdline   string // before the boot loader's own additions
	Requests  []Request
	// Warnings are what the boot loader passes over in silence.
	Warnings []string
	// Took is how long fetching took.
	Took time.Duration
}

// Bytes is how much was fetched over TFTP.
func (b *Boot) Bytes() (n int64) {
	for _, r := range b.Requests {
		if r.From == "tftp" {
			n += r.Bytes
		}
	}
	return n
}

// NoBootError is a boot loader that does not get as far as the kernel.
type NoBootError struct {
	Model  string
	File   string // that is missing
	Effect string // what the Pi does then
}

func (e *NoBootError) Error() string {
	return fmt.Sprintf("Raspberry Pi %s: %s is missing; %s", e.Model, e.File, e.Effect)
}

// loader plays a boot loader.
type loader struct {
	// config
	ctx    context.Context
	model  *Model
	src    source
	from   string
	prefix string
	report func(Request)

	// state
	boot    Boot
	blksize int
}

// get fetches a file. A missing one is fs.ErrNotExist.
func (l *loader) get(name string) ([]byte, error) {
	if err := context.Cause(l.ctx); err != nil {
		return nil, err
	}
	b, err := l.src.fetch(l.prefix+name, l.blksize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l.note(Request{Name: l.prefix + name, Bytes: int64(len(b)), Found: err == nil, From: l.from})
	return b, err
}

// try fetches files that may be missing.
func (l *loader) try(names ...string) error {
	for _, name := range names {
		if _, err := l.get(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// need fetches a file without which there is no boot.
func (l *loader) need(name, effect string) ([]byte, error) {
	b, err := l.get(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NoBootError{l.model.Name, l.prefix + name, effect}
	}
	return b, err
}

// exists asks for a file's size.
func (l *loader) exists(name string) (bool, error) {
	if err := context.Cause(l.ctx); err != nil {
		return false, err
	}
	err := l.src.probe(l.prefix+name, l.blksize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	l.note(Request{Name: l.prefix + name, Probe: true, Found: err == nil, From: l.from})
	return err == nil, nil
}

func (l *loader) note(r Request) {
	l.boot.Requests = append(l.boot.Requests, r)
	if l.report != nil {
		l.report(r)
	}
}

func (l *loader) warn(format string, args ...any) {
	l.boot.Warnings = append(l.boot.Warnings, fmt.Sprintf(format, args...))
}

// config fetches config.txt once and parses it.
func (l *loader) config() (configTxt, error) {
	b, err := l.get("config.txt")
	if errors.Is(err, fs.ErrNotExist) {
		return parseConfig("", l.model), nil
	}
	if err != nil {
		return configTxt{}, err
	}
	if l.from == "tftp" && len(b) >= 4096 {
		return configTxt{}, fmt.Errorf("config.txt has %d bytes, and over TFTP boot loaders ignore one of 4096 or more", len(b))
	}
	return parseConfig(string(b), l.model), nil
}

// enterRAMDisk continues in boot.img if config.txt says so.
func (l *loader) enterRAMDisk(c *configTxt) error {
	if !c.bootRAMDisk {
		return nil
	}
	b, err := l.need("boot.img", "boot_ramdisk=1 names it, so the boot loader gives up")
	if err != nil {
		return err
	}
	fat, err := fatfs.New(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("boot.img: %w", err)
	}
	l.src, l.from, l.prefix = fatSource{fat}, "boot.img", ""
	*c, err = l.config()
	return err
}

// system fetches what all models fetch after their firmware: initramfs, device tree,
// overlays, command line and kernel.
func (l *loader) system(c configTxt) error {
	if c.osCheck {
		for _, dtb := range []string{"bcm2712-rpi-5-b.dtb", "bcm2712-rpi-cm5-cm5io.dtb", "bcm2712-rpi-cm5l-cm5io.dtb"} {
			ok, err := l.exists(c.osPrefix + dtb)
			if err != nil {
				return err
			}
			if ok {
				break
			}
			l.warn("os_check: no %s", dtb)
		}
	}
	for _, name := range c.initramfs {
		b, err := l.need(c.osPrefix+name, "the kernel starts without it, finds no root file system and panics")
		if err != nil {
			return err
		}
		l.boot.Initramfs = append(l.boot.Initramfs, b...)
	}
	if err := l.deviceTree(&c); err != nil {
		return err
	}
	if err := l.overlays(&c); err != nil {
		return err
	}
	cmdline, err := l.get(c.osPrefix + c.cmdline)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.warn("no %s: the kernel starts with the boot loader's own arguments alone", c.cmdline)
	case err != nil:
		return err
	}
	first, _, _ := strings.Cut(string(cmdline), "\n") // the rest is ignored
	l.boot.Cmdline = strings.TrimSpace(first)
	return l.kernel(&c)
}

func (l *loader) deviceTree(c *configTxt) error {
	names := l.model.dtbs
	if c.deviceTree != "" {
		names = []string{c.deviceTree}
	}
	for i, name := range names {
		b, err := l.get(c.osPrefix + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if i > 0 && l.model.overlay != "" {
			c.overlays = append([]string{l.model.overlay}, c.overlays...)
		}
		l.boot.DTB = b
		return nil
	}
	return &NoBootError{l.model.Name, l.prefix + c.osPrefix + names[0], "the kernel starts without a device tree and stops in silence"}
}

func (l *loader) overlays(c *configTxt) error {
	// A Pi 5 asks for the map only if there are overlays, since 2026-06-17.
	if len(c.overlays) > 0 || l.model.family != pi5 {
		if err := l.try("overlays/overlay_map.dtb"); err != nil {
			return err
		}
	}
	for _, name := range c.overlays {
		name = "overlays/" + name + ".dtbo"
		if _, err := l.get(name); errors.Is(err, fs.ErrNotExist) {
			l.warn("no %s: the boot loader goes on without the overlay", name)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) kernel(c *configTxt) error {
	names := c.kernels(l.model)
	for _, name := range names {
		ok, err := l.exists(c.osPrefix + name)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := l.try(map[family]string{pi3: "armstub8.bin", pi4: "armstub8-gic.bin", pi5: "armstub8-2712.bin"}[l.model.family]); err != nil {
			return err
		}
		b, err := l.get(c.osPrefix + name)
		if err != nil {
			return err
		}
		if _, err := unpack(b, imageHeader); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		l.boot.Kernel = b
		if !c.arm64 {
			return fmt.Errorf("%s is a 64-bit kernel and config.txt lacks arm_64bit=1, so a Pi %s starts it in 32-bit mode", name, l.model.Name)
		}
		return nil
	}
	return &NoBootError{l.model.Name, l.prefix + c.osPrefix + names[0], "the boot loader has no kernel to start"}
}

// Image is the kernel, unpacked as boot loaders do since September 2020: gzip, known by
// its first bytes. The fetching looks at the first bytes alone.
func (b *Boot) Image() ([]byte, error) {
	return unpack(b.Kernel, -1)
}

// imageHeader is the size in bytes of a 64-bit ARM kernel's header
// (Documentation/arch/arm64/booting.rst).
const imageHeader = 64

// unpack returns the first n bytes of a kernel, or all of it if n is negative.
func unpack(b []byte, n int64) ([]byte, error) {
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		zr, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		var r io.Reader = zr
		if n >= 0 {
			r = io.LimitReader(zr, n)
		}
		if b, err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
	if len(b) < imageHeader || string(b[56:60]) != "ARM\x64" {
		return nil, errors.New("not a 64-bit ARM kernel, or compressed in a way that boot loaders do not know")
	}
	return b, nil
}
