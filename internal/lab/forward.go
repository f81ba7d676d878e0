package lab

import (
	"context"
	"io"
	"net"
	"sync"
)

// Forward makes a station's port reachable on a loopback address of this machine's own
// network until ctx ends, and returns that address. to is asked anew for each
// connection, because a station that boots again may have another address.
func Forward(ctx context.Context, n Network, to func() (string, error)) (string, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed
			}
			go relay(ctx, n, c, to)
		}
	}()
	return ln.Addr().String(), nil
}

func relay(ctx context.Context, n Network, client net.Conn, to func() (string, error)) {
	defer client.Close()
	addr, err := to()
	if err != nil {
		return // the client sees its connection closed
	}
	var station net.Conn
	err = n.Do(func() error {
		station, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		return err
	})
	if err != nil {
		return
	}
	defer station.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); station.Close() })()
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, station}, {station, client}} {
		wg.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // either end may hang up
			if c, ok := pair[0].(*net.TCPConn); ok {
				_ = c.CloseWrite()
			}
		})
	}
	wg.Wait()
}
