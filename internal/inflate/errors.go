package inflate

import (
	"errors"
	"fmt"
)

// ErrLength is returned by [Reader.DecodeAll] for a stream that is well-formed
// so far but is longer or shorter than the destination.
var ErrLength = errors.New("deflate stream has not the expected length")

// A CorruptError says that the input is not a DEFLATE stream by RFC 1951.
type CorruptError struct {
	Offset int64  // of the input byte at which it was noticed, counted from the start of the [Input]
	Reason string // what is wrong there
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt deflate data at byte %d: %s", e.Offset, e.Reason)
}

// tooFar is the reason for a distance past the start, RFC 1951, 3.3.
const tooFar = "distance reaches back before the first byte"

// corrupt records what is wrong at the current position as the sticky error.
func (d *Reader) corrupt(reason string) {
	d.err = &CorruptError{Offset: d.in.Offset() - int64((d.nbits+7)/8), Reason: reason}
}
