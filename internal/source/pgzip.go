package source

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/pgzip"
)

// pgzipDecoder decodes any number of gzip members (RFC 1952), each through pgzip. It is
// the fallback for, and in tests the oracle of, package gunzip.
//
// BGZF (section 4.1 of the SAM specification) ends with an empty member, so that a file
// that was cut between two members can be told from a whole one.
type pgzipDecoder struct {
	br *bufio.Reader
	z  *pgzip.Reader
	n  int64 // bytes of the current member
}

func newPgzip(br *bufio.Reader) (*pgzipDecoder, error) {
	z, err := pgzip.NewReaderN(br, 1<<20, 4)
	if err != nil {
		return nil, noEOF(err)
	}
	z.Multistream(false)
	return &pgzipDecoder{br: br, z: z}, nil
}

func (d *pgzipDecoder) Read(p []byte) (int, error) {
	for {
		n, err := d.z.Read(p)
		d.n += int64(n)
		if n > 0 || err == nil {
			return n, nil // an error comes again
		}
		if err != io.EOF {
			return 0, err
		}
		next, err := d.br.Peek(1)
		if err == io.EOF && d.n > 0 && bytes.HasPrefix(d.z.Extra, []byte("BC\x02\x00")) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err // io.EOF: the end
		}
		if next[0] == 0 {
			return 0, onlyZeros(d.br)
		}
		if next, _ = d.br.Peek(3); !strings.HasPrefix("\x1f\x8b\x08", string(next)) {
			return 0, errTrailing
		}
		if err := d.z.Reset(d.br); err != nil {
			if errors.Is(err, pgzip.ErrHeader) {
				return 0, errTrailing
			}
			return 0, noEOF(err)
		}
		d.z.Multistream(false)
		d.n = 0
	}
}

func (d *pgzipDecoder) Close() error { return d.z.Close() }
