package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// node is what stands behind a device's path.
type node struct {
	path  string
	file  bool   // a regular file, not a block device
	dev   uint64 // block device: its number; regular file: that of its file system
	inode uint64 // regular file
	dir   string // block device: its directory in sysfs, symlinks resolved
}

// Listed returns a *NotAllowedError for a device that is not in the list allowed, letter
// by letter.
func (s System) Listed(device string, allowed []string) error {
	if slices.Contains(allowed, device) {
		return nil
	}
	return &NotAllowedError{Device: device, Why: s.whyNotListed(device), Allowed: allowed}
}

// look finds out what path is, without opening it: opening some things (tapes, pipes)
// has effects. It refuses what may never be written whatever the allow-list says.
func (s System) look(path string, allowed []string) (*node, error) {
	refuse := func(format string, args ...any) error {
		return &NotAllowedError{Device: path, Why: fmt.Sprintf(format, args...), Allowed: allowed}
	}
	if err := s.Listed(path, allowed); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, &NotPresentError{path, "no such device"}
	} else if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	inDev := strings.HasPrefix(path, "/dev/")
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		n := &node{path: path, dev: uint64(st.Rdev)}
		dir, err := filepath.EvalSymlinks(s.sysDir(n.dev))
		if err != nil {
			return nil, fmt.Errorf("%s is a block device that the kernel does not list in %s: %w", path, s.Sys, err)
		}
		n.dir = dir
		if exists(filepath.Join(dir, "partition")) {
			return nil, refuse("is a partition; a disk image needs the whole disk, %s", filepath.Join(filepath.Dir(path), filepath.Base(filepath.Dir(dir))))
		}
		return n, nil
	case unix.S_IFREG:
		if inDev {
			return nil, refuse("is a regular file in /dev, not a disk")
		}
		return &node{path: path, file: true, dev: uint64(st.Dev), inode: st.Ino}, nil
	case unix.S_IFLNK:
		return nil, refuse("is a symbolic link; name the disk itself in allowed_devices")
	default:
		return nil, refuse("is neither a block device nor a regular file")
	}
}

// whyNotListed says why a path that is not in the allow-list is refused; "" for the
// usual reason.
func (s System) whyNotListed(path string) string {
	name, ok := strings.CutPrefix(path, "/dev/")
	if ok && name != "" && !strings.ContainsAny(name, "/\x00") && name != "." && name != ".." &&
		exists(filepath.Join(s.Sys, "class/block", name, "partition")) {
		return "is a partition, not a whole disk"
	}
	return ""
}

// sysDir is the directory of a block device in sysfs (a symbolic link).
func (s System) sysDir(dev uint64) string {
	return filepath.Join(s.Sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)))
}

// part is a disk or one of its partitions in sysfs.
type part struct {
	Partition
	number int    // 0 for the disk itself
	dev    uint64 // device number
	dir    string
}

// parts returns the disk itself and its partitions, in order.
func (n *node) parts() []part {
	if n.file {
		return nil
	}
	all := []part{{Partition: Partition{Name: filepath.Base(n.dir)}, dev: n.dev, dir: n.dir}}
	entries, _ := os.ReadDir(n.dir)
	for _, e := range entries {
		dir := filepath.Join(n.dir, e.Name())
		number, err := strconv.Atoi(attr(dir, "partition"))
		if err != nil {
			continue
		}
		dev, ok := parseDev(attr(dir, "dev"))
		if !ok {
			continue
		}
		// sysfs counts in 512-byte units whatever the block size (Documentation/ABI/stable/sysfs-block).
		start, _ := strconv.ParseInt(attr(dir, "start"), 10, 64)
		size, _ := strconv.ParseInt(attr(dir, "size"), 10, 64)
		all = append(all, part{Partition{e.Name(), start * 512, size * 512}, number, dev, dir})
	}
	slices.SortStableFunc(all, func(a, b part) int { return cmp.Compare(a.number, b.number) })
	return all
}

// partitions returns the partitions that the kernel knows.
func (n *node) partitions() []Partition {
	var out []Partition
	for _, p := range n.parts() {
		if p.number > 0 {
			out = append(out, p.Partition)
		}
	}
	return out
}

// parseDev parses "MAJOR:MINOR".
func parseDev(s string) (uint64, bool) {
	a, b, ok := strings.Cut(s, ":")
	major, err1 := strconv.ParseUint(a, 10, 32)
	minor, err2 := strconv.ParseUint(b, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, false
	}
	return unix.Mkdev(uint32(major), uint32(minor)), true
}

// attr reads a one-line file in sysfs; "" if there is none.
func attr(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
