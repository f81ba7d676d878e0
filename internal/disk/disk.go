// Package disk opens the disks that may be written, and refuses the ones that may not.
//
// It is the only package that opens a device or does an ioctl. A *Target comes from
// System.Open alone, after every refusal: the name is in the allow-list, it is a whole
// block device (or an existing regular file, for trying things out), nothing uses it,
// and the running system does not live on it. Nothing here ever creates a file: a
// missing /dev/nvme0n1 must not become a file in a RAM disk.
//
// Sizes and offsets are in bytes.
package disk

import (
	"fmt"
	"strings"
)

// System is where the kernel tells about disks. The zero value is not usable; tests use
// other roots, everybody else Host.
type System struct {
	Proc string // "/proc"
	Sys  string // "/sys"
}

// Host is the running system.
var Host = System{Proc: "/proc", Sys: "/sys"}

// NotAllowedError is returned for a device that is not in the allow-list, or that is
// not a kind of thing that may be written.
type NotAllowedError struct {
	Device  string
	Why     string // "" if it is just not in the list
	Allowed []string
}

func (e *NotAllowedError) Error() string {
	why := e.Why
	if why == "" {
		why = "is not an allowed device"
	}
	return fmt.Sprintf("%s %s; allowed: %s", e.Device, why, strings.Join(e.Allowed, ", "))
}

// NotPresentError is returned for an allowed device that is not there.
type NotPresentError struct {
	Device string
	Why    string
}

func (e *NotPresentError) Error() string {
	return fmt.Sprintf("%s is not present (%s); insert or connect the disk", e.Device, e.Why)
}

// InUseError is returned for a disk that something uses.
type InUseError struct {
	Device string
	By     string // "/dev/mmcblk0p1 is mounted on /mnt"
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("%s is in use: %s; nothing was written", e.Device, e.By)
}

// Partition is a partition as the kernel (or the partition table) has it.
type Partition struct {
	Name  string `json:"name"` // "mmcblk0p1"
	Start int64  `json:"start"`
	Size  int64  `json:"size"`
}

// Info describes a disk.
type Info struct {
	Device           string      `json:"device"`
	Present          bool        `json:"present"`
	Size             int64       `json:"size,omitempty"`
	Model            string      `json:"model,omitempty"`
	Serial           string      `json:"serial,omitempty"`
	LogicalBlockSize int         `json:"logical_block_size,omitempty"`
	Removable        bool        `json:"removable"`
	InUse            string      `json:"in_use,omitempty"` // by what, "" if free
	Error            string      `json:"error,omitempty"`  // why it could not be written for another reason
	Partitions       []Partition `json:"partitions,omitempty"`
}
