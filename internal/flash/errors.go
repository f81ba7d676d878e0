package flash

import (
	"fmt"
	"strings"
	"time"
)

// ImageError is returned for an image that does not belong on the disk: it is no disk
// image, does not fit, or is not the one that was asked for.
type ImageError struct{ Why string }

func (e *ImageError) Error() string { return e.Why }

// TooLargeError is returned for an image that needs more room than the disk has.
type TooLargeError struct {
	Need, Have int64  // bytes
	What       string // "the image", "partition 2 of the image"
	AtLeast    bool   // Need is what is known so far
}

func (e *TooLargeError) Error() string {
	least := ""
	if e.AtLeast {
		least = "at least "
	}
	return fmt.Sprintf("%s is larger than the disk: it needs %s%d bytes (%s), the disk has %d (%s); use a larger disk or a smaller image",
		e.What, least, e.Need, Size(e.Need), e.Have, Size(e.Have))
}

// DiskError is returned when the disk fails.
type DiskError struct {
	Why string
	Err error // may be nil
}

func (e *DiskError) Error() string {
	s := "disk error: " + e.Why
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s + "; the disk is probably worn out or badly connected"
}

func (e *DiskError) Unwrap() error { return e.Err }

// MismatchError is returned when the disk gave back other bytes than were written, and
// writing them again did not help.
type MismatchError struct {
	Ranges []Range
	Why    string
}

func (e *MismatchError) Error() string {
	names := make([]string, 0, 8)
	for i, r := range e.Ranges {
		if i == 8 {
			names = append(names, fmt.Sprintf("and %d more", len(e.Ranges)-i))
			break
		}
		names = append(names, r.String())
	}
	return fmt.Sprintf("read-back mismatch: the disk gave back other bytes than were written at %s; %s", strings.Join(names, ", "), e.Why)
}

// StallError is returned when the disk does not finish an operation.
type StallError struct{ For time.Duration }

func (e *StallError) Error() string {
	return fmt.Sprintf("stalled: the disk has not finished a single operation for %v; it is probably broken", e.For)
}

// Range is a range of bytes on the disk.
type Range struct {
	Start  int64 `json:"start"`
	Length int64 `json:"length"`
}

func (r Range) String() string {
	return fmt.Sprintf("bytes %d-%d", r.Start, r.Start+r.Length-1)
}

// Size formats a number of bytes for people: "1.2 GiB".
func Size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
