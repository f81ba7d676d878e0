package emupi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/openseastack/netboot-imager/internal/fatfs"
)

// Netboot fetches over TFTP what the model's boot loader fetches, from the server at
// addr (host:port). Sockets are opened within do, which lets it run in another network
// namespace. Each request is reported as it ends, unless report is nil. A file that
// keeps the Pi from booting is a *NoBootError; the requests so far are returned even
// then.
func (m *Model) Netboot(ctx context.Context, addr string, do func(func() error) error, report func(Request)) (*Boot, error) {
	l := &loader{ctx: ctx, model: m, src: &tftpSource{addr: addr, do: do}, from: "tftp", report: report}
	return l.run(map[family]func(*loader) error{pi3: netboot3, pi4: netboot4, pi5: netboot5}[m.family])
}

// CardBoot reads the same from the first partition of a card or disk, which must have
// a FAT file system.
func (m *Model) CardBoot(ctx context.Context, card io.ReaderAt, report func(Request)) (*Boot, error) {
	fat, err := bootPartition(card)
	if err != nil {
		return nil, err
	}
	l := &loader{ctx: ctx, model: m, src: fatSource{fat}, from: "card", report: report}
	return l.run(cardboot)
}

func (l *loader) run(play func(*loader) error) (*Boot, error) {
	start := time.Now()
	l.blksize = l.model.blksize
	err := play(l)
	l.boot.Took = time.Since(start)
	return &l.boot, err
}

// netboot3 is a Pi 3: boot ROM, bootcode.bin, start.elf.
func netboot3(l *loader) error {
	// The boot ROM asks at the root, in blocks of 512 bytes.
	l.blksize = 512
	if _, err := l.need("bootcode.bin", "the boot ROM asks again, five times, and gives up"); err != nil {
		return err
	}
	if err := l.try("bootsig.bin"); err != nil {
		return err
	}
	l.blksize = l.model.blksize
	// bootcode.bin looks for the directory.
	l.prefix = l.model.Prefix()
	ok, err := l.exists("start.elf")
	if err != nil {
		return err
	}
	if !ok {
		l.prefix = ""
	}
	return stages3(l)
}

func stages3(l *loader) error {
	if err := l.try("autoboot.txt"); err != nil {
		return err
	}
	c, err := l.config()
	if err != nil {
		return err
	}
	if err := l.enterRAMDisk(&c); err != nil {
		return err
	}
	if err := l.try("recovery.elf"); err != nil {
		return err
	}
	if _, err := l.need("start.elf", "bootcode.bin stops, and the green LED blinks four times"); err != nil {
		return err
	}
	if err := l.try("fixup.dat"); err != nil {
		return err
	}
	return startELF(l)
}

// netboot4 is a Pi 4: EEPROM, start4.elf.
func netboot4(l *loader) error {
	l.prefix = l.model.Prefix()
	for _, name := range []string{"start4.elf", "start.elf"} {
		ok, err := l.exists(name)
		if err != nil {
			return err
		}
		if ok {
			return stages4(l)
		}
	}
	l.prefix = ""
	return stages4(l)
}

func stages4(l *loader) error {
	c, err := l.config()
	if err != nil {
		return err
	}
	if err := l.enterRAMDisk(&c); err != nil {
		return err
	}
	if err := l.try("vl805.sig", "pieeprom.sig", "recover4.elf", "recovery.elf"); err != nil {
		return err
	}
	if _, err := l.need("start4.elf", "the EEPROM goes on to the next entry of BOOT_ORDER"); err != nil {
		return err
	}
	if err := l.try("fixup4.dat"); err != nil {
		return err
	}
	return startELF(l)
}

// startELF is what start.elf and start4.elf have in common.
func startELF(l *loader) error {
	if err := l.try("recovery.elf"); err != nil {
		return err
	}
	if _, err := l.config(); err != nil {
		return err
	}
	if err := l.try("dt-blob.bin", "recovery.elf"); err != nil {
		return err
	}
	c, err := l.config()
	if err != nil {
		return err
	}
	if err := l.try("bootcfg.txt"); err != nil {
		return err
	}
	return l.system(c)
}

// netboot5 is a Pi 5, whose EEPROM holds all firmware.
func netboot5(l *loader) error {
	l.prefix = l.model.Prefix()
	ok, err := l.exists("config.txt")
	if err != nil {
		return err
	}
	if !ok {
		l.prefix = ""
	}
	return stages5(l)
}

func stages5(l *loader) error {
	b, err := l.need("config.txt", "the EEPROM goes on to the next entry of BOOT_ORDER")
	if err != nil {
		return err
	}
	c := parseConfig(string(b), l.model)
	if err := l.try("pieeprom.sig"); err != nil {
		return err
	}
	if err := l.enterRAMDisk(&c); err != nil {
		return err
	}
	return l.system(c)
}

// cardboot is any model that boots from a card or disk.
func cardboot(l *loader) error {
	switch l.model.family {
	case pi3:
		if _, err := l.need("bootcode.bin", "the boot ROM goes on to USB and the network"); err != nil {
			return err
		}
		return stages3(l)
	case pi4:
		return stages4(l)
	default:
		return stages5(l)
	}
}

// bootPartition finds the file system a boot loader reads: that of the first
// partition, in an MBR or a GPT with the MBR that gokrazy puts beside it.
func bootPartition(card io.ReaderAt) (*fatfs.FS, error) {
	start, err := firstPartition(card)
	if err != nil {
		return nil, err
	}
	const most = 4 << 30
	fat, err := fatfs.New(io.NewSectionReader(card, start, most))
	if err != nil {
		return nil, fmt.Errorf("the card's first partition, at byte %d: %w", start, err)
	}
	return fat, nil
}

var errNoPartition = errors.New("the card has no partition table: nothing to boot")
