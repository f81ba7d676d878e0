package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/openseastack/netboot-imager/internal/cmdline"
	"github.com/openseastack/netboot-imager/internal/ptable"
	"golang.org/x/sys/unix"
)

// bootDisk says that the disk is the one the running system was started from, as the
// kernel's root= has it; "" if not. The root file system need not be mounted any more
// for that: gokrazy runs from a disk's squashfs but may have its root in RAM. The forms
// of root= are those of the kernel's early_lookup_bdev (block/early-lookup.c). head is
// the disk's start, for PARTUUID and PARTLABEL.
func (s System) bootDisk(n *node, head []byte, sector int64) (string, error) {
	line, err := os.ReadFile(filepath.Join(s.Proc, "cmdline"))
	if err != nil {
		return "", fmt.Errorf("cannot tell whether the running system lives on %s: %w", n.path, err)
	}
	root, ok := cmdline.Get(string(line), "root")
	if !ok || n.file {
		return "", nil
	}
	says := fmt.Sprintf("the running system was started from it (root=%s)", root)

	key, value, _ := strings.Cut(root, "=")
	switch key {
	case "PARTUUID", "PARTLABEL":
		value, _, _ = strings.Cut(value, "/PARTNROFF=")
		table, err := ptable.Parse(head, sector)
		if err != nil {
			return "", nil // nothing to boot from
		}
		if slices.ContainsFunc(table.Partitions, func(p ptable.Partition) bool {
			return key == "PARTUUID" && strings.EqualFold(p.UUID, value) || key == "PARTLABEL" && p.Name != "" && p.Name == value
		}) {
			return says, nil
		}
		return "", nil
	}
	if name, ok := strings.CutPrefix(root, "/dev/"); ok {
		for _, p := range n.parts() {
			if p.Name == name {
				return says, nil
			}
		}
		// root=/dev/mmcblk0p2 also when the kernel has not found that partition (again).
		base := filepath.Base(n.dir)
		if rest, ok := strings.CutPrefix(name, base); ok && isPartitionSuffix(base, rest) {
			return says, nil
		}
		return "", nil
	}
	if dev, ok := parseDev(root); ok && n.owns(dev) {
		return says, nil
	}
	if hex, err := strconv.ParseUint(root, 16, 32); err == nil && n.owns(hexDev(hex)) {
		return says, nil
	}
	return "", nil
}

// isPartitionSuffix reports whether base+rest names a partition of disk base: digits,
// behind a "p" if base ends in a digit (kernel: disk_name).
func isPartitionSuffix(base, rest string) bool {
	if last := base[len(base)-1]; last >= '0' && last <= '9' {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, "p"); !ok {
			return false
		}
	}
	return rest != "" && strings.Trim(rest, "0123456789") == ""
}

// owns reports whether dev is the disk or one of its partitions.
func (n *node) owns(dev uint64) bool {
	return slices.ContainsFunc(n.parts(), func(p part) bool { return p.dev == dev })
}

// hexDev decodes the kernel's new_decode_dev (include/linux/kdev_t.h).
func hexDev(v uint64) uint64 {
	return unix.Mkdev(uint32(v>>8&0xFFF), uint32(v&0xFF|v>>12&0xFFF00))
}
