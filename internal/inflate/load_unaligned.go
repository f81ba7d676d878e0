//go:build amd64 || arm64

package inflate

import "unsafe"

// These are the only unsafe operations of this package, for the processors that
// are little-endian and load 8 bytes from any address. They make the fast loop
// 14 % faster than checked ones; it checks its bounds once an iteration, see
// fastInput and fastOutput.

// load64 loads b[i:i+8], which must be within b.
func load64(b []byte, i int) uint64 {
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))
}

// store64 stores b[i:i+8], which must be within b.
func store64(b []byte, i int, v uint64) {
	*(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i)) = v
}
