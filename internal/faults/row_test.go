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
	request map[string]any                                 // fields besides device and image_url
	config  map[string]any                                 // keys besides those that startImager sets
	during  func(im *imager) error                         // what happens while the write runs; may be nil
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
	took    time.Duration
	imager  *imager
	server  *flashtest.Server
	image   []byte
	problem error // what was not as it must be
}

// run does the row with the real program and judges what came of it.
func (r *row) run(t testing.TB, bin string) *outcome {
	t.Helper()
	img, sent := r.sample(t)
	s := r.server(t, sent)
	d := r.target(t)
	im := startImager(t, bin, d.dev, r.config)
	defer im.stop(t)

	url := s.URL()
	if r.url != nil {
		url = r.url(t, s)
	}
	body := map[string]any{"device": d.dev, "image_url": url}
	for k, v := range r.request {
		body[k] = v
	}
	during := make(chan error, 1)
	go func() {
		if r.during == nil {
			during <- nil
			return
		}
		during <- r.during(im)
	}()
	begin := time.Now()
	status, a := im.write(t, body)
	took := time.Since(begin)
	if err := <-during; err != nil {
		t.Errorf("what should happen meanwhile: %v", err)
	}
	o := &outcome{status: status, answer: a, took: took, imager: im, server: s, image: img}
	st := im.status(t)
	if d.answered != nil {
		d.answered()
	}
	im.stop(t)
	o.after = d.examine(t, img)
	o.problem = r.judge(o, st)
	if o.problem != nil {
		o.problem = fmt.Errorf("%w\nanswer: %d %s\nimager's log:\n%s", o.problem, status, a.raw, im.log())
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

func (r *row) server(t testing.TB, sent []byte) *flashtest.Server {
	s := flashtest.NewServer(t, sent)
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
