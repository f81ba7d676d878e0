package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// target is what is written to.
type target struct {
	path string // device or regular file
	size int64
	loop *os.File // keeps the loop device; nil if it is a file
}

// newFile makes a regular file in dir.
func newFile(dir string, size int64) (*target, error) {
	t := &target{path: filepath.Join(dir, "disk.img"), size: size}
	f, err := os.Create(t.path)
	if err != nil {
		return nil, err
	}
	return t, errors.Join(f.Truncate(size), f.Close())
}

// newLoop makes a loop device over memory, so that the medium is never slower than a
// memory copy and two. Both go away with this program, however it ends.
func newLoop(size int64) (*target, error) {
	fd, err := unix.MemfdCreate("netboot-imager-bench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory for a loop device: %w", err)
	}
	mem := os.NewFile(uintptr(fd), "memfd")
	defer mem.Close() // the device has it
	if err := mem.Truncate(size); err != nil {
		return nil, fmt.Errorf("memory for a loop device: %w", err)
	}
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	for {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{
			Fd: uint32(fd), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}, // detach when the last has closed it
		})
		if err == nil {
			return &target{path: dev.Name(), size: size, loop: dev}, nil
		}
		dev.Close()
		if !errors.Is(err, unix.EBUSY) { // somebody else was faster
			return nil, fmt.Errorf("set up %s: %w", dev.Name(), err)
		}
	}
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
	if t.loop != nil {
		return t.loop.Close()
	}
	return os.Remove(t.path)
}

// throttle slows a device down: bytes per second of reading and writing.
type throttle struct {
	dir, device string
	guard       *exec.Cmd
	hold        io.Closer // the guard's standard input
}

// The kernel keeps limits for a device's number, whatever becomes of the device, and of
// the program that set them. So a shell of a session of its own takes them back when its
// input ends, as it does when this program has gone, even if that was killed.
const guard = `cat
for what in read write; do echo "$2 0" >"$1/blkio.throttle.${what}_bps_device"; done
umount "$1" && rmdir "$1"`

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
	h := &throttle{dir: dir, device: fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))}
	h.guard = exec.Command("sh", "-c", guard, "sh", dir, h.device)
	h.guard.Stderr = os.Stderr
	h.guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if h.hold, err = h.guard.StdinPipe(); err == nil {
		err = h.guard.Start()
	}
	if err != nil {
		return nil, errors.Join(err, unix.Unmount(dir, 0), os.Remove(dir))
	}
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

func (h *throttle) close() error { return errors.Join(h.hold.Close(), h.guard.Wait()) }
