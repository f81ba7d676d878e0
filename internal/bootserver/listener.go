package bootserver

import (
	"io"
	"net"
	"time"
)

const (
	// sendChunk is how many bytes of a file are given to the kernel at once.
	sendChunk = 4 << 20
	// sendStall is how long a client may take to accept that many: a station whose card is
	// slow reads slowly, and one that is gone is noticed.
	sendStall = 5 * time.Minute
)

// Listener makes l's connections notice clients that stopped reading a file, without
// giving sendfile(2) up: a file goes to the kernel in pieces, each with a deadline.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		return &conn{tcp}, err
	}
	return c, err
}

type conn struct{ *net.TCPConn }

// ReadFrom is what net/http sends files with.
func (c *conn) ReadFrom(r io.Reader) (n int64, err error) {
	lr, ok := r.(*io.LimitedReader)
	if !ok {
		return c.TCPConn.ReadFrom(r)
	}
	defer func() {
		if derr := c.SetWriteDeadline(time.Time{}); err == nil {
			err = derr
		}
	}()
	for lr.N > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(sendStall)); err != nil {
			return n, err
		}
		piece := &io.LimitedReader{R: lr.R, N: min(lr.N, sendChunk)}
		m, err := c.TCPConn.ReadFrom(piece)
		n, lr.N = n+m, lr.N-m
		if err != nil || m == 0 {
			return n, err
		}
	}
	return n, nil
}
