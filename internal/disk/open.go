package disk

import (
	"errors"
	"fmt"
	"os"

	"github.com/openseastack/netboot-imager/internal/ptable"
	"golang.org/x/sys/unix"
)

// Open opens device for writing if it is in the list allowed, letter by letter, and
// after every check that can be made. Errors: *NotAllowedError, *NotPresentError,
// *InUseError, or an I/O error. Nothing on the disk is changed.
func (s System) Open(device string, allowed []string) (*Target, error) {
	n, err := s.look(device, allowed)
	if err != nil {
		return nil, err
	}
	if by, err := s.inUse(n); err != nil {
		return nil, err
	} else if by != "" {
		return nil, &InUseError{device, by}
	}

	t := &Target{sys: s, node: n}
	if err := t.open(); err != nil {
		t.Close()
		return nil, err
	}
	head := make([]byte, min(ptable.HeadSize, t.size))
	if _, err := t.ReadAt(head, 0); err != nil {
		t.Close()
		return nil, fmt.Errorf("%s cannot be read: %w", device, err)
	}
	by, err := s.bootDisk(n, head, int64(t.blockSize))
	if err == nil && by != "" {
		err = &InUseError{device, by}
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// open opens the device exclusively and learns its geometry.
func (t *Target) open() error {
	n := t.node
	const flags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC
	excl := 0
	if !n.file {
		// On a block device O_EXCL without O_CREAT means: no other exclusive user, such as
		// a mount, swap, md or device mapper, on the disk or on a partition (open(2)).
		excl = unix.O_EXCL
	}
	fd, err := unix.Open(n.path, flags|excl, 0)
	if err != nil {
		return openError(n.path, err)
	}
	t.buffered = os.NewFile(uintptr(fd), n.path)
	if err := n.same(fd); err != nil {
		return err
	}
	if n.file {
		if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return &InUseError{n.path, "another process has locked it"}
		}
	}
	if err := t.geometry(fd); err != nil {
		return err
	}

	// A second descriptor, for direct I/O. O_EXCL would clash with the first one.
	direct, err := unix.Open(n.path, flags|unix.O_DIRECT, 0)
	if err != nil {
		return nil // tmpfs and others have no O_DIRECT: the buffered one serves
	}
	if err := n.same(direct); err != nil {
		unix.Close(direct)
		return err
	}
	t.direct = os.NewFile(uintptr(direct), n.path)
	t.useDirect.Store(true)
	return nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return &InUseError{path, "another program has opened it exclusively"}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOMEDIUM):
		return &NotPresentError{path, err.Error()}
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return &InUseError{path, fmt.Sprintf("it cannot be opened for writing (%v): check the write-protect switch and that the imager runs as root", err)}
	}
	return fmt.Errorf("open %s: %w", path, err)
}

// same makes sure that the descriptor is of what look saw: the path may have been
// swapped in between.
func (n *node) same(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat %s: %w", n.path, err)
	}
	if n.file && st.Mode&unix.S_IFMT == unix.S_IFREG && uint64(st.Dev) == n.dev && st.Ino == n.inode ||
		!n.file && st.Mode&unix.S_IFMT == unix.S_IFBLK && uint64(st.Rdev) == n.dev {
		return nil
	}
	return &InUseError{n.path, "it was exchanged while being opened"}
}

// geometry fills in size and block sizes.
func (t *Target) geometry(fd int) error {
	if t.node.file {
		end, err := t.buffered.Seek(0, 2)
		if err != nil {
			return fmt.Errorf("size of %s: %w", t.node.path, err)
		}
		if end == 0 {
			return &NotPresentError{t.node.path, "the file is empty: a file-backed disk must have its size already, for instance by truncate -s 4G FILE"}
		}
		t.size, t.blockSize, t.align = end, 512, 4096
		var sx unix.Statx_t
		if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &sx) == nil && sx.Mask&unix.STATX_DIOALIGN != 0 && sx.Dio_offset_align > 0 {
			t.align = int64(max(sx.Dio_offset_align, sx.Dio_mem_align))
		}
		return nil
	}
	size, err := ioctlUint64(fd, unix.BLKGETSIZE64)
	if err != nil {
		return fmt.Errorf("size of %s: %w", t.node.path, err)
	}
	if size == 0 {
		return &NotPresentError{t.node.path, "no medium: its size is 0"}
	}
	ssz, err := unix.IoctlGetInt(fd, unix.BLKSSZGET)
	if err != nil {
		return fmt.Errorf("block size of %s: %w", t.node.path, err)
	}
	ro, err := unix.IoctlGetInt(fd, unix.BLKROGET)
	if err != nil {
		return fmt.Errorf("write protection of %s: %w", t.node.path, err)
	}
	if ro != 0 {
		return &InUseError{t.node.path, "it is write-protected"}
	}
	t.size, t.blockSize, t.align = int64(size), ssz, int64(ssz)
	return nil
}
