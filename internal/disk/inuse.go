package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// inUse says by what the disk is used: mounts, swap, device mapper, md and loop devices
// over it or over one of its partitions. "" means that the kernel names nothing; opening
// with O_EXCL is the last word.
func (s System) inUse(n *node) (string, error) {
	mounts, err := os.ReadFile(filepath.Join(s.Proc, "self/mountinfo"))
	if err != nil {
		return "", fmt.Errorf("cannot tell whether %s is mounted: %w", n.path, err)
	}
	for _, m := range parseMountinfo(string(mounts)) {
		if name, ok := n.has(m.dev, m.source); ok {
			if m.point == "/" {
				return fmt.Sprintf("the running system lives on %s", name), nil
			}
			return fmt.Sprintf("%s is mounted on %s", name, m.point), nil
		}
	}

	// A kernel without swap has no such file; that is no reason to refuse.
	swaps, _ := os.ReadFile(filepath.Join(s.Proc, "swaps"))
	for _, line := range strings.Split(string(swaps), "\n") {
		path, _, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !strings.HasPrefix(path, "/") {
			continue
		}
		if name, ok := n.is(unescape(path)); ok {
			return fmt.Sprintf("%s is swap space; type swapoff %s first", name, path), nil
		}
	}

	for _, p := range n.parts() {
		if holders, _ := os.ReadDir(filepath.Join(p.dir, "holders")); len(holders) > 0 {
			return fmt.Sprintf("%s is held by %s", p.Name, holders[0].Name()), nil
		}
	}
	loops, _ := filepath.Glob(filepath.Join(s.Sys, "block/loop*/loop/backing_file"))
	for _, l := range loops {
		backing, _ := os.ReadFile(l)
		if name, ok := n.is(strings.TrimSuffix(strings.TrimSpace(string(backing)), " (deleted)")); ok {
			return fmt.Sprintf("%s is held by %s", name, filepath.Base(filepath.Dir(filepath.Dir(l)))), nil
		}
	}
	return "", nil
}

// has reports whether a mount is of n: by its device number or, for file systems that
// show another one, by its source. It returns the name of the part.
func (n *node) has(dev uint64, source string) (string, bool) {
	for _, p := range n.parts() {
		if p.dev == dev {
			return p.Name, true
		}
	}
	if strings.HasPrefix(source, "/") {
		return n.is(source)
	}
	return "", false
}

// is reports whether path leads to the disk, one of its partitions, or the regular file.
func (n *node) is(path string) (string, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		for _, p := range n.parts() {
			if p.dev == uint64(st.Rdev) {
				return p.Name, true
			}
		}
	case unix.S_IFREG:
		if n.file && uint64(st.Dev) == n.dev && st.Ino == n.inode {
			return n.path, true
		}
	}
	return "", false
}
