package gunzip

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
)

// halves stands for the best that two processors can do with a BGZF file: two
// goroutines that decode half of it each and never wait for each other. On a
// machine that others use too it tells what they left to be had.
type halves struct {
	file []byte
	done bool
	left int // bytes that Read has not told of yet
}

var twoHalves = contender{"halves", func(r io.Reader) (io.Reader, error) {
	file, err := io.ReadAll(r)
	return &halves{file: file}, err
}}

// Read decodes the whole file at first. It counts bytes but does not give them.
func (h *halves) Read(p []byte) (int, error) {
	if !h.done {
		h.done = true
		if err := h.decode(); err != nil {
			return 0, err
		}
	}
	if h.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), h.left)
	h.left -= n
	return n, nil
}

func (h *halves) decode() error {
	middle := 0
	for middle < len(h.file)/2 {
		// bgzip's headers have nothing but BC.
		middle += int(binary.LittleEndian.Uint16(h.file[middle+16:])) + 1
	}
	var group sync.WaitGroup
	var n [2]int
	var errs [2]error
	for i, half := range [][]byte{h.file[:middle], h.file[middle:]} {
		group.Go(func() {
			z, err := NewReader(bytes.NewReader(half), Options{Concurrency: 1})
			buf := make([]byte, benchBlock)
			for err == nil {
				var m int
				m, err = z.Read(buf)
				n[i] += m
			}
			errs[i] = err
		})
	}
	group.Wait()
	h.left = n[0] + n[1]
	for _, err := range errs {
		if err != io.EOF {
			return err
		}
	}
	return nil
}
