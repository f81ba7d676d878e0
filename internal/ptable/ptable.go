// Package ptable reads partition tables out of the first MiB of a disk or a disk image:
// MBR (the four primary entries) and GPT (UEFI specification 2.10, chapter 5).
//
// It reads strictly: what Linux or a boot loader would not take for a partition table
// is not one here either. It never writes.
package ptable

import (
	"errors"
	"fmt"
)

// HeadSize is how much of a disk's start in bytes Parse wants to see. A GPT with the usual
// 128 entries needs 17 KiB (512-byte sectors) or 24 KiB (4096-byte sectors).
const HeadSize = 1 << 20

// Kinds of table.
const (
	MBR = "mbr"
	GPT = "gpt"
)

// Table is a partition table.
type Table struct {
	Kind       string // MBR or GPT
	SectorSize int64  // bytes; what the table counts in: 512 or 4096 for GPT, the caller's for MBR
	ID         string // disk signature (8 hex digits) or disk GUID, as in PARTUUID
	Partitions []Partition
	// AlternateEnd is where the backup GPT ends, in bytes from the disk's start; 0 for MBR.
	AlternateEnd int64
}

// Partition is an entry of a table.
type Partition struct {
	Number int    // counted from 1
	Start  int64  // bytes from the disk's start
	Size   int64  // bytes, > 0
	Type   string // two hex digits (MBR) or a GUID (GPT)
	UUID   string // as in root=PARTUUID=…, lower case
	Name   string // GPT only
}

// End is the offset in bytes of the first byte behind p.
func (p Partition) End() int64 { return p.Start + p.Size }

// End is the offset in bytes behind the last partition, 0 if there is none.
func (t *Table) End() int64 {
	var end int64
	for _, p := range t.Partitions {
		end = max(end, p.End())
	}
	return end
}

// ErrNone is returned where there is no partition table at all.
var ErrNone = errors.New("no partition table")

// InvalidError is returned for a table that is there but broken.
type InvalidError struct {
	Kind string
	Why  string
}

func (e *InvalidError) Error() string { return "its " + e.Kind + " is broken: " + e.Why }

// Parse reads the table in head, the first HeadSize bytes of a disk or image (or all of
// it, if it is smaller). An MBR does not say what its sectors are, so the disk's logical
// block size is given as mbrSector; a GPT is looked for at 512 and at 4096 bytes and
// says it itself. Errors are ErrNone and *InvalidError.
func Parse(head []byte, mbrSector int64) (*Table, error) {
	if len(head) < 512 || head[510] != 0x55 || head[511] != 0xAA {
		return nil, ErrNone
	}
	entries, protective, err := parseMBR(head)
	for _, sector := range []int64{512, 4096} {
		if hasGPT(head, sector) {
			if !protective {
				break // Linux takes the MBR unless it says that there is a GPT (block/partitions/efi.c)
			}
			return parseGPT(head, sector)
		}
	}
	if err != nil {
		return nil, err
	}
	if protective && len(entries) == 1 {
		return nil, &InvalidError{"GPT", "the MBR announces one, but there is no GPT header in sector 1"}
	}
	if len(entries) == 0 {
		return nil, ErrNone
	}
	id := fmt.Sprintf("%08x", le32(head[440:]))
	t := &Table{Kind: MBR, SectorSize: mbrSector, ID: id}
	for _, e := range entries {
		t.Partitions = append(t.Partitions, Partition{
			Number: e.number,
			Start:  int64(e.start) * mbrSector,
			Size:   int64(e.count) * mbrSector,
			Type:   fmt.Sprintf("%02x", e.typ),
			UUID:   fmt.Sprintf("%s-%02x", id, e.number),
		})
	}
	return t, nil
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func le64(b []byte) uint64 { return uint64(le32(b)) | uint64(le32(b[4:]))<<32 }
