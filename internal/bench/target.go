package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// target is what is written to.
type target struct {
	path string // device or regular file
	file string // what is behind it
	size int64
	loop bool
}

// newFile makes a regular file in dir.
func newFile(dir string, size int64) (*target, error) {
	t := &target{path: filepath.Join(dir, "disk.img"), size: size}
	t.file = t.path
	f, err := os.Create(t.path)
	if err != nil {
		return nil, err
	}
	return t, errors.Join(f.Truncate(size), f.Close())
}

// newLoop makes a loop device over a file in RAM, so that the medium is never slower
// than a memory copy and two.
func newLoop(ctx context.Context, size int64) (*target, error) {
	f, err := os.CreateTemp("/dev/shm", "netboot-imager-bench-*.img")
	if err != nil {
		return nil, err
	}
	t := &target{file: f.Name(), size: size, loop: true}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, errors.Join(err, t.close())
	}
	out, err := exec.CommandContext(ctx, "losetup", "--find", "--show", t.file).CombinedOutput()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("losetup: %w: %s", err, strings.TrimSpace(string(out))), t.close())
	}
	t.path = strings.TrimSpace(string(out))
	return t, nil
}

// clear empties the target, so that each run finds the same: nothing of the image.
func (t *target) clear() error {
	f, err := os.OpenFile(t.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, t.size)
	return errors.Join(err, f.Sync(), f.Close())
}

func (t *target) close() error {
	var err error
	if t.loop && t.path != "" {
		err = command(context.Background(), "losetup", "--detach", t.path)
	}
	return errors.Join(err, os.Remove(t.file))
}

// throttle slows a device down: bytes per second of reading and writing.
type throttle struct{ dir, device string }

// newThrottle limits t. It needs the blkio controller of control groups version 1, which
// it mounts for itself. The limits are those of the root group, so that what the kernel
// writes back later is limited, too.
func newThrottle(t *target, read, write int64) (*throttle, error) {
	var st unix.Stat_t
	if err := unix.Stat(t.path, &st); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "netboot-imager-blkio-")
	if err != nil {
		return nil, err
	}
	if err := unix.Mount("none", dir, "cgroup", 0, "blkio"); err != nil {
		return nil, errors.Join(fmt.Errorf("mount the blkio controller: %w", err), os.Remove(dir))
	}
	h := &throttle{dir, fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))}
	if err := h.set(read, write); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *throttle) set(read, write int64) error {
	for name, bps := range map[string]int64{"read": read, "write": write} {
		path := filepath.Join(h.dir, "blkio.throttle."+name+"_bps_device")
		if err := os.WriteFile(path, fmt.Appendf(nil, "%s %d", h.device, bps), 0); err != nil {
			return err
		}
	}
	return nil
}

func (h *throttle) close() error {
	return errors.Join(h.set(0, 0), unix.Unmount(h.dir, 0), os.Remove(h.dir))
}
