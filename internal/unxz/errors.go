package unxz

import (
	"errors"
	"fmt"
)

// ErrClosed is what Read returns after Close.
var ErrClosed = errors.New("unxz: the reader is closed")

// CorruptError says that the data is not what an xz encoder writes.
type CorruptError struct {
	Offset int64 // of the compressed byte at which it was noticed, or a few after it
	What   string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("xz data is corrupt at byte %d: %s", e.Offset, e.What)
}

// TrailingError says that a whole xz file is followed by something that is
// neither zero padding nor another xz stream.
type TrailingError struct {
	Offset int64 // of the first compressed byte that does not belong there
}

func (e *TrailingError) Error() string {
	return fmt.Sprintf("the xz data ends, but something else follows at byte %d", e.Offset)
}

// UnsupportedError says that the file uses a part of the format that this
// package refuses.
type UnsupportedError struct {
	What string // names it: "the PowerPC filter"
}

func (e *UnsupportedError) Error() string {
	return "xz data uses " + e.What + ", which is not supported here"
}

// MemoryError says that the file's dictionary is larger than
// Options.MaxMemory.
type MemoryError struct {
	Dictionary int64 // bytes the dictionary takes
	Limit      int64 // bytes allowed
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("xz data needs a dictionary of %d bytes, and %d are allowed: compress it with a smaller preset", e.Dictionary, e.Limit)
}
