// Package source downloads a disk image over HTTP and decodes it.
//
// A Stream reads like a file of image bytes. Behind it the download is resumed after any
// fault, buffered in a ring in RAM, and decoded by what its content is, never by its
// name. A Stream's io.EOF is strict: the server's answer was complete, the compressed
// stream ended as its format demands, and nothing but zero padding follows.
package source

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Config configures a Client.
type Config struct {
	Hosts     Hosts
	Stall     time.Duration // no new byte for this long ends a download
	ReadAhead int           // size in bytes of the ring; at least 64 KiB
	UserAgent string
}

// Client opens images.
type Client struct {
	cfg  Config
	http *http.Client
}

// NewClient returns a client that connects only where cfg.Hosts allows it. It uses no
// proxy, whatever the environment says.
func NewClient(cfg Config) *Client {
	cfg.ReadAhead = max(cfg.ReadAhead, 64<<10)
	return &Client{cfg, &http.Client{Transport: &http.Transport{
		DialContext:            cfg.Hosts.dial,
		DisableCompression:     true, // the bytes as they are stored, and ranges of them
		DisableKeepAlives:      true, // one answer, then the connection is done
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         128 << 10,
	}}}
}

// hostChars are what host names and addresses are made of.
const hostChars = "abcdefghijklmnopqrstuvwxyz0123456789.-_:%"

// ParseURL checks an image's URL: http or https, with a host.
func ParseURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("image_url is missing; send the http:// or https:// URL of the image")
	}
	u, err := url.Parse(raw)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("image_url is not a URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("image_url has the scheme %q; only http and https are supported", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, errors.New("image_url names no host; write it like http://10.10.200.75:38434/api/images/download/NAME")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("image_url has the port %s; ports are 1 to 65535", port)
		}
	}
	if strings.ContainsFunc(u.Hostname(), func(c rune) bool { return !strings.ContainsRune(hostChars, unicode.ToLower(c)) }) {
		return nil, fmt.Errorf("image_url names the host %q, which is neither an address nor a host name", u.Hostname())
	}
	return u, nil
}

// Check refuses what can be refused of u without connecting: a *HostError or nil.
func (c *Client) Check(u *url.URL) error { return c.cfg.Hosts.CheckLiteral(u.Hostname()) }

// Info describes an image that is being downloaded.
type Info struct {
	URL          string // without a password
	Format       string // Raw, Gzip, XZ, Zstd or Bzip2
	ETag         string // as sent, "" if none
	LastModified string
	TransferSize int64 // bytes of the download, -1 if unknown
	Size         int64 // bytes of the image, -1 if unknown until its end
}

// Transfer is what was downloaded, known at a stream's end.
type Transfer struct {
	Bytes   int64
	SHA256  string // hex; "" for a part of an image
	Retries int64  // connections that broke or could not be made
}

// Stream is an image being downloaded. Read and Close are for one goroutine, the
// counters for any.
type Stream struct {
	Info Info

	client *Client
	url    *url.URL
	cancel context.CancelFunc
	ctx    context.Context
	body   *body
	ring   *ring
	dec    decoder
	filler sync.WaitGroup // for the ring's goroutines
	err    error          // sticky
}

// Open connects to u and reads as much as is needed to tell the format. Each fault that
// is about to be cured by another connection is told to note, from another goroutine.
// Errors are *HostError, *ServerError, *StallError, *ImageError, or the context's cause.
func (c *Client) Open(ctx context.Context, u *url.URL, note func(sentence string)) (*Stream, error) {
	return c.open(ctx, u, note, nil, 0)
}

// Again opens the image once more, at off bytes into it. It is an error if it is not the
// same version as s has, as far as the server lets that be seen.
func (s *Stream) Again(ctx context.Context, off int64) (io.ReadCloser, error) {
	start := off
	if s.Info.Format != Raw {
		start = 0
	}
	again, err := s.client.open(ctx, s.url, s.body.note, s, start)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, again, off-start); err != nil {
		again.Close()
		if err == io.EOF {
			err = again.body.changed("it has become shorter")
		}
		return nil, err
	}
	return again, nil
}

func (c *Client) open(ctx context.Context, u *url.URL, note func(string), first *Stream, start int64) (*Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel()
		return nil, &ServerError{u.Redacted(), "no request can be made of this URL", err}
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	b := &body{
		ctx: ctx, http: c.http, url: u.Redacted(), req: req, stall: c.cfg.Stall, note: note,
		base: start, offset: start, ident: identity{total: -1},
	}
	if first != nil {
		b.got, b.ident, b.noRanges = true, first.body.ident, first.body.noRanges
	}
	s := &Stream{client: c, url: u, ctx: ctx, cancel: cancel, body: b, ring: newRing(c.cfg.ReadAhead)}
	b.digest = s.ring.digest
	s.ring.start(b, &s.filler)
	if err := s.begin(first); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// begin looks at the first bytes and sets the decoder up.
func (s *Stream) begin(first *Stream) error {
	br := bufio.NewReaderSize(s.ring, sniffSize)
	head, err := br.Peek(10)
	if err != nil && err != io.EOF {
		return s.explain(err)
	}
	if first != nil {
		s.Info = first.Info
	} else {
		if len(head) == 0 {
			return &ImageError{Why: "the image is empty: the server sent 0 bytes; upload it again"}
		}
		id := s.body.identity()
		s.Info = Info{URL: s.body.url, Format: compression(head), ETag: id.etag, LastModified: id.modified, TransferSize: id.total, Size: -1}
		if s.Info.Format == Raw {
			s.Info.Size = id.total
		}
	}
	dec, err := newDecoder(s.Info.Format, br)
	if err != nil {
		return s.explain(err)
	}
	s.dec = dec // not before: a nil *gzipDecoder would not be a nil decoder
	return nil
}

// Read reads image bytes. After an error or the end it returns the same again.
func (s *Stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.dec.Read(p)
	if err != nil && err != io.EOF {
		err = s.explain(err)
	}
	if err == io.EOF && s.ring.fault() != nil {
		err = s.explain(io.ErrUnexpectedEOF) // whatever a decoder made of it
	}
	s.err = err
	return n, err
}

// explain turns a decoder's error into one that says whose fault it is.
func (s *Stream) explain(err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		return cause
	}
	if fault := s.ring.fault(); fault != nil {
		return fault
	}
	return decodeFault(s.Info.Format, err, fmt.Sprintf("byte %d of the download", s.Taken()), "upload it again")
}

// Interrupt makes a Read that waits for the network return. Any goroutine may call it.
func (s *Stream) Interrupt() { s.ring.close() }

// Taken is how many downloaded bytes the decoder has taken.
func (s *Stream) Taken() int64 { return s.ring.taken.Load() }

// Retries is how often the download had to connect again.
func (s *Stream) Retries() int64 { return s.body.retries.Load() }

// Starved is for how long the decoder has waited for bytes from the network.
func (s *Stream) Starved() time.Duration { return s.ring.starved.Elapsed() }

// Receiving is for how long bytes were received from the network or waited for, be it
// that the decoder needed them or had others. A download that is held up by what comes
// after it is not receiving.
func (s *Stream) Receiving() time.Duration { return s.ring.receiving.Elapsed() }

// Transfer returns what was downloaded. Call it after Read returned io.EOF.
func (s *Stream) Transfer() Transfer {
	t := Transfer{Bytes: s.body.offset, Retries: s.body.retries.Load()}
	if s.body.base == 0 {
		t.SHA256 = hex.EncodeToString(s.ring.digest())
	}
	return t
}

// Close ends the download and waits for its goroutines.
func (s *Stream) Close() error {
	s.cancel()
	s.ring.close()
	if s.dec != nil {
		s.dec.Close()
	}
	s.filler.Wait()
	s.body.disconnect()
	return nil
}
