package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// Groups of rows, in the page's order.
const (
	network = "network"
	images  = "image"
	disks   = "disk"
	power   = "power"
	abuse   = "abuse"
	stat    = "station"
	mutants = "mutants"
)

// row is a row of the matrix: a fault, and what must come of it.
type row struct {
	fault string // for people; also the test's name
	// What is written: image, in a format of flashtest.Compress.
	image  func(t testing.TB) []byte // sampleImage unless set
	format string                    // "raw" unless set
	encode func(b []byte) []byte     // changes what the server has; may be nil
	// What misbehaves.
	serve   func(t testing.TB, s *flashtest.Server)        // may be nil
	url     func(t testing.TB, s *flashtest.Server) string // s.URL unless set
	disk    func(t testing.TB) *target                     // loopDisk unless set
	place   func(t testing.TB) *place                      // this machine's loopback unless set
	request map[string]any                                 // fields besides device and image_url
	config  map[string]any                                 // keys besides those that startIn sets
	from    string                                         // an address that may ask for /status; 127.0.0.1 unless set
	// ask makes the request; (*scene).write unless set.
	ask func(t testing.TB, s *scene) (int, answer, error)
	// during is what happens while the write runs; may be nil.
	during func(im *imager) error
	// What must come of it.
	status int
	says   string // part of the answer's sentence
	after  state
	check  func(o *outcome) error // what else must be so; may be nil

	peers bool // the same can be done to other tools
}

// outcome is what came of a row.
type outcome struct {
	status  int
	answer  answer
	after   state
	content []byte // of the disk
	took    time.Duration
	imager  *imager
	server  *flashtest.Server
	image   []byte
	problem error // what was not as it must be
}

// scene is what a row is played on.
type scene struct {
	bin    binary
	im     *imager
	dir    string // of the imager, which a restart finds again
	keys   map[string]any
	server *flashtest.Server
	place  *place
	disk   *target
	body   map[string]any // of the request
}

// write asks for the write and waits for the answer.
func (s *scene) write() (int, answer, error) { return s.im.tryWrite(s.body) }

// run does the row with the real program and judges what came of it.
func (r *row) run(t testing.TB, bin binary) *outcome {
	t.Helper()
	img, sent := r.sample(t)
	s := &scene{bin: bin, dir: t.TempDir(), keys: r.config, disk: r.target(t), place: loopback}
	if r.place != nil {
		s.place = r.place(t)
	}
	s.server = r.server(t, sent, s.place)
	s.im = startIn(t, s.place, bin, s.dir, s.disk.dev, s.keys)
	defer func() { s.im.stop(t) }()

	url := s.server.URL()
	if r.url != nil {
		url = r.url(t, s.server)
	}
	s.body = map[string]any{"device": s.disk.dev, "image_url": url}
	for k, v := range r.request {
		s.body[k] = v
	}
	during := make(chan error, 1)
	go func() {
		if r.during == nil {
			during <- nil
			return
		}
		during <- r.during(s.im)
	}()
	ask := (*scene).write
	if r.ask != nil {
		ask = func(s *scene) (int, answer, error) { return r.ask(t, s) }
	}
	begin := time.Now()
	code, a, err := ask(s)
	o := &outcome{status: code, answer: a, took: time.Since(begin), imager: s.im, server: s.server, image: img}
	if e := <-during; e != nil && err == nil {
		err = fmt.Errorf("what should happen meanwhile: %w", e)
	}
	var st status
	if err == nil {
		c := s.im.client
		if r.from != "" {
			c = from(r.from)
		}
		st, err = s.im.statusBy(c)
	}
	if s.disk.answered != nil {
		s.disk.answered()
	}
	s.im.stop(t)
	o.after, o.content = s.disk.examine(t, img)
	o.problem = err
	if err == nil {
		o.problem = r.judge(o, st)
	}
	if o.problem != nil {
		o.problem = fmt.Errorf("%w\nanswer: %d %s\nimager's log:\n%s", o.problem, code, a.raw, s.im.log())
	}
	return o
}

func (r *row) sample(t testing.TB) (img, sent []byte) {
	t.Helper()
	if r.image != nil {
		img = r.image(t)
	} else {
		img = sampleImage()
	}
	format := r.format
	if format == "" {
		format = "raw"
	}
	sent = compressed(t, format, img)
	if r.encode != nil {
		sent = r.encode(append([]byte(nil), sent...))
	}
	return img, sent
}

func (r *row) server(t testing.TB, sent []byte, at *place) *flashtest.Server {
	s := flashtest.ServeOn(t, sent, at.listen(t))
	if r.serve != nil {
		r.serve(t, s)
	}
	return s
}

func (r *row) target(t testing.TB) *target {
	if r.disk != nil {
		return r.disk(t)
	}
	return loopDisk(t, diskSize)
}

// judge holds the outcome to the row and to what holds for every row.
func (r *row) judge(o *outcome, st status) error {
	switch {
	case o.status != r.status:
		return fmt.Errorf("status %d, want %d", o.status, r.status)
	case !strings.Contains(o.answer.sentence(), r.says):
		return fmt.Errorf("the sentence is %q, want %q in it", o.answer.sentence(), r.says)
	case r.after != untested && o.after != r.after:
		return fmt.Errorf("the disk is %s afterwards, want %s", o.after, r.after)
	}
	if err := invariants(o, st); err != nil {
		return err
	}
	if r.check != nil {
		return r.check(o)
	}
	return nil
}
