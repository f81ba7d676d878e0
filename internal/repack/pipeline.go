package repack

import (
	"context"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// piece is a part of the image on its way: read, compressed, written.
type piece struct {
	raw    []byte
	packed []byte
	ready  chan struct{} // closed when packed is there
}

// compress reads src to its end and writes it to dst in format, compressed on all cores
// and in order. Memory is bounded by two pieces a core.
func compress(ctx context.Context, dst io.Writer, src io.Reader, format string, level Level) error {
	encoders := make([]encoder, runtime.GOMAXPROCS(0))
	for i := range encoders {
		var err error
		if encoders[i], err = newEncoder(format, level); err != nil {
			return err
		}
	}
	free := make(chan *piece, 2*len(encoders))
	for range cap(free) {
		free <- &piece{raw: make([]byte, pieceSize)}
	}
	work := make(chan *piece, cap(free))
	order := make(chan *piece, cap(free))
	g, ctx := errgroup.WithContext(ctx)

	g.Go(func() error { // reads
		defer close(work)
		defer close(order)
		for {
			var p *piece
			select {
			case p = <-free:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n, err := io.ReadFull(src, p.raw[:pieceSize])
			if n > 0 {
				p.raw, p.ready = p.raw[:n], make(chan struct{})
				work <- p // never blocks: there is room for every piece
				order <- p
			}
			switch err {
			case nil:
			case io.EOF, io.ErrUnexpectedEOF:
				// ReadFull's own early end, or the image's: the source says which.
				return endOf(src)
			default:
				return err
			}
		}
	})
	for _, enc := range encoders {
		g.Go(func() error {
			for p := range work {
				var err error
				if p.packed, err = enc.encode(p.packed[:0], p.raw); err != nil {
					return err
				}
				close(p.ready)
			}
			return nil
		})
	}
	g.Go(func() error { // writes
		for p := range order {
			select {
			case <-p.ready:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if _, err := dst.Write(p.packed); err != nil {
				return err
			}
			free <- p
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	_, err := dst.Write(ending(format))
	return err
}

// endOf returns nil if src really has ended, else its error.
func endOf(src io.Reader) error {
	_, err := src.Read(make([]byte, 1))
	if err == io.EOF {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}
