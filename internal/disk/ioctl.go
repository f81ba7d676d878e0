package disk

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctlUint64 does an ioctl that fills in a 64-bit number, such as BLKGETSIZE64.
func ioctlUint64(fd int, req uint) (uint64, error) {
	var v uint64
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(&v))); errno != 0 {
		return 0, errno
	}
	return v, nil
}
