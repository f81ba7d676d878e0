package emupi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/pin/tftp/v3"

	"github.com/openseastack/netboot-imager/internal/fatfs"
)

// source is where a boot loader reads from. A file that is not there is
// fs.ErrNotExist.
type source interface {
	fetch(name string, blksize int) ([]byte, error)
	// probe asks for the size alone.
	probe(name string, blksize int) error
}

// tftpSource fetches over TFTP.
type tftpSource struct {
	addr string // host:port
	do   func(func() error) error
}

// errEarly ends a transfer after the server has told the size.
var errEarly = errors.New("early terminate")

func (s *tftpSource) fetch(name string, blksize int) ([]byte, error) {
	var buf bytes.Buffer
	err := s.receive(name, blksize, &buf)
	return buf.Bytes(), err
}

func (s *tftpSource) probe(name string, blksize int) error {
	err := s.receive(name, blksize, endWriter{})
	if errors.Is(err, errEarly) {
		return nil
	}
	return err
}

func (s *tftpSource) receive(name string, blksize int, w io.Writer) error {
	return s.do(func() error {
		c, err := tftp.NewClient(s.addr)
		if err != nil {
			return err
		}
		c.SetTimeout(2 * time.Second)
		c.SetRetries(3)
		c.RequestTSize(true)
		if blksize != 512 { // the default, which needs no option
			c.SetBlockSize(blksize)
		}
		r, err := c.Receive(name, "octet")
		if err != nil {
			// RFC 1350: error code 1 is "File not found"; the module has no other way to say it.
			if strings.HasPrefix(err.Error(), "code: 1,") {
				return fs.ErrNotExist
			}
			return fmt.Errorf("TFTP %s from %s: %w", name, s.addr, err)
		}
		if t, ok := r.(tftp.IncomingTransfer); ok {
			if size, ok := t.Size(); ok && size > int64(blksize)*65535 {
				return fmt.Errorf("TFTP %s from %s: %d bytes are more than 65535 blocks of %d, where boot loaders of before September 2025 stop", name, s.addr, size, blksize)
			}
		}
		if _, err := r.WriteTo(w); err != nil {
			return fmt.Errorf("TFTP %s from %s: %w", name, s.addr, err)
		}
		return nil
	})
}

type endWriter struct{}

func (endWriter) Write([]byte) (int, error) { return 0, errEarly }

// fatSource reads a FAT file system: a card's boot partition, or a boot.img in RAM.
type fatSource struct{ fat *fatfs.FS }

func (s fatSource) fetch(name string, _ int) ([]byte, error) { return s.fat.ReadFile(name) }

func (s fatSource) probe(name string, _ int) error {
	_, err := s.fat.ReadFile(name)
	return err
}
