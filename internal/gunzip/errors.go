package gunzip

import "fmt"

// A CorruptError says that the file is not gzip by RFC 1952, or that what was
// decoded is not what had been compressed. Damage that is noticed within the
// compressed data is an inflate.CorruptError.
type CorruptError struct {
	Offset int64  // of the byte of the file at which it was noticed
	Reason string // what is wrong there
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt gzip data at byte %d: %s", e.Offset, e.Reason)
}

// A TrailingError says that the file goes on after its last member with something
// other than zeros.
type TrailingError struct {
	Offset int64 // of the first byte of the file that does not belong there
}

func (e *TrailingError) Error() string {
	return fmt.Sprintf("gzip data ends, but something else follows at byte %d", e.Offset)
}

// A PanicError says that the decoder failed in a way that no input should make
// it. It is an error so that the program lives on to report it.
type PanicError struct {
	Offset int64 // of the member that was being decoded
	Value  any   // what panic was called with
	Stack  []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("gzip decoder failed on the member at byte %d, please report: %v\n%s", e.Offset, e.Value, e.Stack)
}
