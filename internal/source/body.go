package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// body reads one resource over HTTP as if the connection never broke: after a fault it
// connects again and goes on where it stopped, by Range with If-Range (RFC 9110,
// section 13.1.5) or, at servers without ranges, by reading forward. What it returns is
// always a prefix of one and the same resource: validators, length and, when reading
// forward, the digest of the first bytes are compared.
type body struct {
	// config
	ctx   context.Context
	http  *http.Client
	url   string // for messages: without a password
	req   *http.Request
	stall time.Duration
	note  func(sentence string)

	// state
	cur      io.ReadCloser // nil while not connected
	cancel   context.CancelFunc
	watchdog *time.Timer   // cancels the connection; it runs only while something is waited for
	got      bool          // the first answer has come
	ident    identity      // of the resource, from the first answer
	base     int64         // bytes in front of the first one that Read returns
	offset   int64         // bytes of the resource so far, base included
	noRanges bool          // the server does not honour Range
	digest   func() []byte // SHA-256 of what Read has returned; nil if that is not to be had any more
	fresh    bool          // something new has come since the last fault
	forward  int           // attempts in a row that read forward and brought nothing new
	waiting  time.Time     // since when no byte has come; zero if one has
	last     error         // what went wrong last

	known   sync.Mutex // guards ident against identity
	retries atomic.Int64
}

// identity is what tells two versions of a resource apart.
type identity struct {
	etag     string // as sent, "" if none
	modified string // Last-Modified, "" if none
	total    int64  // bytes, -1 if unknown
}

// condition returns what If-Range can be asked with: a strong validator, or "".
func (id identity) condition() string {
	if id.etag != "" && !strings.HasPrefix(id.etag, "W/") {
		return id.etag
	}
	return id.modified
}

// differs says in what an answer is of another version; "" if nothing shows that. An
// answer to If-Range may leave validators out (RFC 9110, section 15.3.7), and an equal
// strong ETag outweighs another date.
func (id identity) differs(other identity, partial bool) string {
	same := func(a, b string) bool { return a == b || partial && b == "" }
	strong := id.etag != "" && id.etag == other.etag && !strings.HasPrefix(id.etag, "W/")
	switch {
	case !same(id.etag, other.etag):
		return fmt.Sprintf("its ETag was %s and is %s", orNone(id.etag), orNone(other.etag))
	case !strong && !same(id.modified, other.modified):
		return fmt.Sprintf("its Last-Modified was %s and is %s", orNone(id.modified), orNone(other.modified))
	case id.total >= 0 && other.total >= 0 && id.total != other.total:
		return fmt.Sprintf("its size was %d and is %d bytes", id.total, other.total)
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return "absent"
	}
	return s
}

const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 5 * time.Second
	maxForward   = 5 // attempts that read forward and bring nothing new
)

// errShort is the fault of an answer that ended before its announced length.
var errShort = errors.New("the connection ended early")

// errRange is the fault of an answer with another range than the one asked for.
var errRange = errors.New("the server sent another range than the one asked for")

// errQuiet is the fault of a connection on which nothing came for a while.
var errQuiet = errors.New("nothing came on the connection")

// Read implements io.Reader. io.EOF means that the resource is complete, as far as HTTP
// can tell.
func (b *body) Read(p []byte) (int, error) {
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		n, err := b.attempt(p)
		if n > 0 {
			b.offset += int64(n)
			b.waiting, b.forward, b.fresh = time.Time{}, 0, true
			return n, nil
		}
		if err == io.EOF {
			return 0, io.EOF
		}
		b.disconnect()
		if b.ctx.Err() != nil {
			return 0, context.Cause(b.ctx)
		}
		if permanent(err) {
			return 0, b.final(err)
		}
		b.last = err
		left := b.stall - time.Since(b.waiting)
		if left <= 0 || b.forward >= maxForward {
			return 0, b.giveUp()
		}
		b.retries.Add(1)
		// Forty stations must not come back in step. A connection that brought something is
		// worth another one at once.
		wait := min(backoff/2+rand.N(backoff), left)
		if b.fresh {
			wait, b.fresh = rand.N(firstBackoff/8), false
		}
		b.note(fmt.Sprintf("image server: %v after %d bytes; connecting again in %v", bare(err), b.offset, wait.Round(time.Millisecond)))
		select {
		case <-b.ctx.Done():
			return 0, context.Cause(b.ctx)
		case <-time.After(wait):
		}
	}
}

// attempt reads some bytes, connecting first if need be.
func (b *body) attempt(p []byte) (int, error) {
	if b.waiting.IsZero() {
		b.waiting = time.Now()
	}
	if b.cur == nil {
		if err := b.connect(); err != nil {
			return 0, err
		}
	}
	if b.ident.total >= 0 && b.offset >= b.ident.total {
		// All that was announced is here; make sure that the answer says so too.
		p = p[:min(len(p), 1)]
	}
	n, err := b.read(p)
	if n > 0 {
		if b.ident.total >= 0 && b.offset+int64(n) > b.ident.total {
			return 0, &ServerError{b.url, fmt.Sprintf("sent more than the %d bytes it announced", b.ident.total), nil}
		}
		return n, nil
	}
	if err == io.EOF && b.ident.total >= 0 && b.offset < b.ident.total {
		return 0, errShort
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// read reads from the connection, giving up on it when nothing comes for a third of the
// stall limit: a connection whose other end is gone looks just like a slow one.
func (b *body) read(p []byte) (int, error) {
	b.watchdog.Reset(b.quiet())
	n, err := b.cur.Read(p)
	b.watchdog.Stop()
	if errors.Is(err, context.Canceled) && b.ctx.Err() == nil {
		err = errQuiet
	}
	return n, err
}

func (b *body) quiet() time.Duration { return max(b.stall/3, 10*time.Millisecond) }

func (b *body) disconnect() {
	if b.cur != nil {
		b.cancel()
		b.cur.Close()
		b.cur = nil
	}
}

// connect sends the request and puts the answer in cur, positioned at offset.
func (b *body) connect() error {
	ctx, cancel := context.WithCancel(b.ctx)
	quiet := time.AfterFunc(b.quiet(), cancel)
	req := b.req.Clone(ctx)
	if b.offset > 0 && !b.noRanges {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", b.offset))
		if c := b.ident.condition(); c != "" {
			req.Header.Set("If-Range", c)
		}
	}
	resp, err := b.http.Do(req)
	quiet.Stop()
	if err != nil {
		if errors.Is(err, context.Canceled) && b.ctx.Err() == nil {
			err = errQuiet
		}
		cancel()
		return err
	}
	b.cur, b.cancel, b.watchdog = resp.Body, cancel, quiet
	return b.accept(resp)
}

// accept looks at an answer's status and header.
func (b *body) accept(resp *http.Response) error {
	id := identity{etag: resp.Header.Get("ETag"), modified: resp.Header.Get("Last-Modified"), total: resp.ContentLength}
	switch {
	case resp.StatusCode == http.StatusPartialContent && resp.Request.Header.Get("Range") != "":
		start, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || start != b.offset {
			// Such a server's ranges cannot be trusted; its whole answers may be.
			b.noRanges = true
			return fmt.Errorf("%w (%q for bytes %d on)", errRange, resp.Header.Get("Content-Range"), b.offset)
		}
		if total < 0 && b.ident.total < 0 {
			// Nothing would tell where the resource ends.
			b.noRanges = true
			return fmt.Errorf("%w (%q, of unknown length)", errRange, resp.Header.Get("Content-Range"))
		}
		id.total = total
		return b.identify(id, true)
	case resp.StatusCode == http.StatusOK:
		if b.offset > 0 {
			b.noRanges = true
			b.forward++
		}
		if err := b.identify(id, false); err != nil {
			return err
		}
		return b.skip()
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && b.ident.total < 0 && !b.noRanges:
		b.noRanges = true // the connection may have broken just behind the last byte
		return fmt.Errorf("%w (none)", errRange)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return b.changed("it has become shorter")
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode == http.StatusTooEarly, resp.StatusCode == http.StatusTooManyRequests:
		return &statusError{resp.Status}
	}
	return &ServerError{b.url, "answered " + resp.Status + "; check the URL and that the image exists there", nil}
}

// identify compares an answer with the first one.
func (b *body) identify(id identity, partial bool) error {
	b.known.Lock()
	defer b.known.Unlock()
	if !b.got {
		b.got, b.ident = true, id
		// Without a validator a range might be of another version; read forward and compare instead.
		b.noRanges = b.noRanges || id.condition() == ""
		return nil
	}
	if why := b.ident.differs(id, partial); why != "" {
		return b.changed(why)
	}
	b.ident.total = max(b.ident.total, id.total)
	return nil
}

// identity returns what is known of the resource, for other goroutines.
func (b *body) identity() identity {
	b.known.Lock()
	defer b.known.Unlock()
	return b.ident
}

func (b *body) changed(why string) error {
	return &ServerError{b.url, "the image changed during the download: " + why + "; start the write again", nil}
}

// skip reads a whole answer up to offset. What was returned before must be there again.
func (b *body) skip() error {
	if b.offset == 0 {
		return nil
	}
	// Reading forward is progress, though it brings nothing new; only the time in which
	// nothing came counts as stalled.
	var quiet time.Duration
	sum := sha256.New()
	buf := make([]byte, 64<<10)
	waiting, begun := b.waiting, time.Now()
	defer func() { b.waiting = waiting.Add(time.Since(begun) - quiet) }()
	for at := int64(0); at < b.offset; {
		p := buf[:min(int64(len(buf)), b.offset-at)]
		if at < b.base {
			p = p[:min(int64(len(p)), b.base-at)]
		}
		start := time.Now()
		n, err := b.read(p)
		if n == 0 {
			quiet += time.Since(start)
		}
		if at >= b.base {
			sum.Write(p[:n])
		}
		at += int64(n)
		if err == io.EOF && at < b.offset {
			err = errShort
		}
		if err != nil && at < b.offset {
			return err
		}
	}
	before := b.digest()
	if before == nil {
		return io.ErrClosedPipe // nobody reads any more
	}
	if !bytes.Equal(sum.Sum(nil), before) {
		return b.changed(fmt.Sprintf("its first %d bytes are others", b.offset))
	}
	return nil
}

// final makes a fault that cannot be cured an error that names the server.
func (b *body) final(err error) error {
	var (
		host   *HostError
		server *ServerError
	)
	switch {
	case errors.As(err, &host):
		return host
	case errors.As(err, &server):
		return server
	}
	return &ServerError{b.url, "cannot be used", bare(err)}
}

// bare takes the URL off an error: it stands in the message already.
func bare(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// giveUp turns the last fault into the error that ends the download.
func (b *body) giveUp() error {
	waited := time.Since(b.waiting).Round(100 * time.Millisecond)
	var se *statusError
	switch {
	case errors.As(b.last, &se):
		return &ServerError{b.url, fmt.Sprintf("answered %s for %v", se.status, waited), nil}
	case errors.Is(b.last, errShort), errors.Is(b.last, io.ErrUnexpectedEOF):
		if b.got && b.ident.total > 0 {
			return &ImageError{Why: fmt.Sprintf("the image is truncated: the server announces %d bytes but always ends before byte %d; upload the image again", b.ident.total, b.offset+1)}
		}
		return &ImageError{Why: fmt.Sprintf("the image is truncated: the server always ends after %d bytes without finishing its answer; upload the image again", b.offset)}
	case errors.Is(b.last, errQuiet), isTimeout(b.last) && !isDial(b.last):
		return &StallError{b.url, b.offset, waited}
	}
	return &ServerError{b.url, fmt.Sprintf("cannot be reached (tried for %v; check that it runs and that the address is right)", waited), bare(b.last)}
}

// statusError is an HTTP status that may go away by itself.
type statusError struct{ status string }

func (e *statusError) Error() string { return "the server answered " + e.status }

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// isDial reports whether err is of making a connection, not of using one.
func isDial(err error) bool {
	var oe *net.OpError
	return errors.As(err, &oe) && oe.Op == "dial"
}

// permanent reports whether trying again cannot help. Lost and refused connections,
// time-outs and early ends may go away; anything unknown is taken as permanent, so that
// a typo in a URL is answered at once.
func permanent(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsNotFound
	}
	var status *statusError
	for _, passing := range []error{errShort, errQuiet, errRange, io.ErrUnexpectedEOF, io.EOF, io.ErrNoProgress, net.ErrClosed,
		unix.ECONNREFUSED, unix.ECONNRESET, unix.ECONNABORTED, unix.EPIPE, unix.ETIMEDOUT, unix.EHOSTUNREACH,
		unix.ENETUNREACH, unix.ENETDOWN, unix.EHOSTDOWN, unix.EADDRNOTAVAIL} {
		if errors.Is(err, passing) {
			return false
		}
	}
	return !errors.As(err, &status) && !isTimeout(err)
}

// contentRange parses "bytes 5-9/10" (RFC 9110, section 14.4). total is -1 for "*".
func contentRange(s string) (start, total int64, ok bool) {
	span, of, ok := strings.Cut(strings.TrimPrefix(s, "bytes "), "/")
	if !ok || !strings.HasPrefix(s, "bytes ") {
		return 0, 0, false
	}
	a, z, ok := strings.Cut(span, "-")
	start, err1 := strconv.ParseInt(a, 10, 64)
	end, err2 := strconv.ParseInt(z, 10, 64)
	if !ok || err1 != nil || err2 != nil || start < 0 || end < start {
		return 0, 0, false
	}
	if of == "*" {
		return start, -1, true
	}
	total, err := strconv.ParseInt(of, 10, 64)
	return start, total, err == nil && end < total
}
