package unxz

import "encoding/binary"

// vliMax is the largest integer the format can write, and vliBytesMax how many
// bytes it takes (section 1.2).
const (
	vliMax      = 1<<63 - 1
	vliBytesMax = 9
)

// takeVLI decodes the variable-length integer at the start of p and returns
// how long it is, 0 if there is none or it is not the shortest form.
func takeVLI(p []byte) (v int64, n int) {
	u, n := binary.Uvarint(p[:min(len(p), vliBytesMax)])
	if n <= 0 || n > 1 && p[n-1] == 0 {
		return 0, 0
	}
	return int64(u), n
}

// readVLI reads a variable-length integer, appending its bytes to seen.
func readVLI(in *input, seen []byte) (int64, []byte, error) {
	first := len(seen)
	for len(seen)-first < vliBytesMax {
		b, err := in.readByte()
		if err != nil {
			return 0, seen, err
		}
		seen = append(seen, b)
		if b < 0x80 {
			if v, n := takeVLI(seen[first:]); n > 0 {
				return v, seen, nil
			}
			break
		}
	}
	return 0, seen, in.corrupt("an integer is not well-formed")
}
