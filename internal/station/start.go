package station

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/ptable"
)

// Order is a write that the station itself decides on, because of its kernel parameters
// or of what its netboot server assigned to it. Nobody is there to ask twice, so the
// image's SHA-256 must be given: see Server.Write.
type Order struct {
	ImageURL string
	Device   string // "" for the first allowed one
	SHA256   string // of the decompressed image, hex
}

// ErrCarries is returned by Write when the disk already holds the image: nothing was
// written, and nothing is done afterwards.
var ErrCarries = errors.New("the disk already carries this very image")

// Write does what POST /write-image does, by the same checks, and returns when the job has
// ended: nil if the disk holds the image, read back (if the config says so) and equal. It
// never reboots: see Restart.
//
// It writes once: if the disk already carries the image, it returns ErrCarries.
func (s *Server) Write(ctx context.Context, o Order) error {
	a, req, err := s.order(o)
	if err != nil {
		return err
	}
	if s.running() == nil {
		same, err := s.carries(ctx, a, req)
		if err != nil {
			return err
		}
		if same {
			return ErrCarries
		}
	}
	j, err := s.start(a, req)
	if err != nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Carries reports whether the disk holds the image, as Write looks for it. Who reboots
// after a Write asks first: if this cannot tell, neither can the next boot, and it would
// write again.
func (s *Server) Carries(ctx context.Context, o Order) (bool, error) {
	a, req, err := s.order(o)
	if err != nil {
		return false, err
	}
	return s.carries(ctx, a, req)
}

// order checks o as a request is checked.
func (s *Server) order(o Order) (*active, *writeRequest, error) {
	a := s.active.Load()
	if a == nil {
		return nil, nil, &httpError{http.StatusServiceUnavailable, "the station is starting: it has no config yet"}
	}
	no := false
	req := &writeRequest{Device: o.Device, ImageURL: o.ImageURL, SHA256: &o.SHA256, Reboot: &no}
	if err := req.check(a); err != nil {
		return nil, nil, err
	}
	return a, req, s.opt.System.Listed(req.Device, a.cfg.AllowedDevices)
}

// Retry reports whether err, of Write, may go away by itself: the image server or the disk
// was not there, or the network.
func Retry(err error) bool {
	switch statusOf(err) {
	case http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusNotFound, http.StatusServiceUnavailable:
		return true
	}
	return false
}

// slack is how far behind its last partition an image's end is looked for, in bytes.
const slack = 64 << 20

// carries reports whether the disk holds the image that req asks for. The first MiB is
// compared with the server's: it has the disk's identifier, and differs for nearly
// every other content. Only if it is the same is the disk read, and its SHA-256
// compared at every sector where the image may end: a compressed one does not tell its
// size.
func (s *Server) carries(ctx context.Context, a *active, req *writeRequest) (bool, error) {
	target, err := s.opt.System.Open(req.Device, a.cfg.AllowedDevices)
	if err != nil {
		return false, err
	}
	defer target.Close()
	img, err := a.source.Open(ctx, req.url, func(sentence string) { s.opt.Logf("%s", sentence) })
	if err != nil {
		return false, err
	}
	defer img.Close()
	want := make([]byte, ptable.HeadSize)
	n, err := io.ReadFull(img, want)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return false, err
	}
	buf := disk.AlignedBuffer(ptable.HeadSize)
	if n < len(want) || target.Size() < int64(len(buf)) {
		return false, nil // too small for an image; writing it says what is wrong
	}
	sum := sha256.New()
	var least, most int64
	for at := int64(0); at < target.Size(); at += int64(len(buf)) {
		off := at
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		p := buf[:min(int64(len(buf)), target.Size()-off)]
		if _, err := target.ReadAt(p, off); err != nil {
			return false, fmt.Errorf("looking at what is on the disk: %w", err)
		}
		if off == 0 {
			table, err := ptable.Parse(p, int64(target.BlockSize()))
			if err != nil || !bytes.Equal(p, want) {
				return false, nil
			}
			least = max(table.End(), table.AlternateEnd)
			most = min(least+slack, target.Size())
		}
		// The image may end where its partitions end, or at any sector behind.
		end := off + int64(len(p))
		for from := max(least, off+512) &^ 511; from <= end; from += 512 {
			part := from - off
			sum.Write(p[:part])
			p, off = p[part:], from
			if hex.EncodeToString(sum.Sum(nil)) == req.digest {
				return true, nil
			}
		}
		sum.Write(p)
		if end >= most {
			break
		}
	}
	return false, nil
}
