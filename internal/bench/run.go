package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openseastack/netboot-imager/internal/lab"
)

// Options say what is measured.
type Options struct {
	Dir     string   // for images and results
	Data    string   // directory whose files fill the images
	Imager  string   // the program
	Formats []string // of Formats; all if empty
	Groups  []string // of Groups; all if empty
	Rounds  int
	Quick   bool // the small image everywhere
	NoPeers bool // the imager and the limits alone
	Out     io.Writer

	sizes [2]imageSize // of the small and the large image; the real ones if zero
}

// imageSize is how large an image is, and how many bytes of files it holds.
type imageSize struct{ logical, data int64 }

// imageNames are the images' names, in the order in which they are numbered.
var imageNames = [2]string{"small", "large"}

var imageSizes = [2]imageSize{{512 << 20, 330 << 20}, {2048 << 20, 1300 << 20}}

// Groups are the circumstances that are measured.
var Groups = []string{"loop", "file", "1gbit", "100mbit", "card"}

// Rates of the throttled wire in bits per second, and of the throttled medium in bytes
// per second: a middling microSD card.
const (
	gigabit   = 1_000_000_000
	hundred   = 100_000_000
	cardRead  = 90_000_000
	cardWrite = 40_000_000
)

// Case is a format under circumstances.
type Case struct {
	Group  string `json:"group"`
	Format string `json:"format"`
	Image  string `json:"image"` // "large" or "small"

	index  int
	image  *Image
	target *target
	place  *place
}

func (c *Case) url() string { return url(c.place.base, c.index, c.Format) }

// place is a network: where programs run and what they reach the image server by.
type place struct {
	where in
	base  string
	srv   *server
}

// env is what a run has at hand.
type env struct {
	opt    Options
	dir    string // scratch
	imager string
	images []*Image // by imageNames
	close  []func() error
}

// Run measures and returns the results; with an error, those of the cases that had ended
// before, if there are any. Progress goes to opt.Out.
func Run(ctx context.Context, opt Options) (res *Results, err error) {
	if opt.Dir, err = filepath.Abs(opt.Dir); err != nil { // the imager wants a disk's whole path
		return nil, err
	}
	e := &env{opt: opt, imager: opt.Imager}
	defer func() {
		for _, f := range slices.Backward(e.close) {
			err = errors.Join(err, f())
		}
	}()
	if e.dir, err = os.MkdirTemp("", "netboot-imager-bench-"); err != nil {
		return nil, err
	}
	e.close = append(e.close, func() error { return os.RemoveAll(e.dir) })
	if err := e.makeImages(ctx); err != nil {
		return nil, err
	}
	res = &Results{Machine: machine(), Cores: cores(), Quick: opt.Quick, Images: map[string]ImageInfo{}}
	for i, img := range e.images {
		res.Images[imageNames[i]] = ImageInfo{img.Logical, img.Data, img.Sizes}
	}
	cases, err := e.cases(ctx)
	if err != nil {
		return nil, err
	}
	p := &progress{out: opt.Out, start: time.Now()}
	for _, c := range cases {
		p.total += e.rounds(c) * len(e.contenders(c))
	}
	for _, c := range cases {
		r, err := e.measure(ctx, c, p)
		if err != nil {
			return res, fmt.Errorf("%s, %s: %w", c.Group, c.Format, err)
		}
		res.Cases = append(res.Cases, *r)
	}
	return res, nil
}

// Prepare makes the images alone.
func Prepare(ctx context.Context, opt Options) error {
	return (&env{opt: opt}).makeImages(ctx)
}

func (e *env) makeImages(ctx context.Context) error {
	logf := func(format string, args ...any) { fmt.Fprintf(e.opt.Out, format+"\n", args...) }
	sizes := e.opt.sizes
	if sizes == [2]imageSize{} {
		sizes = imageSizes
	}
	for i, name := range imageNames {
		if name == "large" && e.opt.Quick {
			continue
		}
		img, err := MakeImage(ctx, filepath.Join(e.opt.Dir, name), e.opt.Data, sizes[i].logical, sizes[i].data, e.formats(), logf)
		if err != nil {
			return err
		}
		e.images = append(e.images, img)
	}
	return nil
}

func (e *env) formats() []string {
	if len(e.opt.Formats) == 0 {
		return Formats
	}
	return e.opt.Formats
}

// cases lists what is measured, with targets and networks set up. A slow wire or medium
// makes everything as slow as itself: fewer formats show that, and the small image.
func (e *env) cases(ctx context.Context) ([]*Case, error) {
	var all []*Case
	for _, group := range Groups {
		if len(e.opt.Groups) > 0 && !slices.Contains(e.opt.Groups, group) {
			continue
		}
		pl, err := e.place(ctx, group)
		if err != nil {
			return nil, err
		}
		targets := map[int]*target{}
		for _, format := range e.formats() {
			index := 1
			switch group {
			case "file":
				if !slices.Contains([]string{"raw", "gzip", "zstd"}, format) {
					continue
				}
			case "1gbit":
				if format == "raw" {
					index = 0
				}
				if format == "pigz" || format == "xz" {
					continue
				}
			case "100mbit":
				if index = 0; !slices.Contains([]string{"gzip", "xz-T0", "zstd"}, format) {
					continue
				}
			case "card":
				if index = 0; !slices.Contains([]string{"raw", "gzip", "zstd"}, format) {
					continue
				}
			}
			if e.opt.Quick {
				index = 0
			}
			if targets[index] == nil {
				if targets[index], err = e.target(group, e.images[index].Logical+(64<<20)); err != nil {
					return nil, err
				}
			}
			all = append(all, &Case{Group: group, Format: format, Image: imageNames[index],
				index: index, image: e.images[index], target: targets[index], place: pl})
		}
	}
	return all, nil
}

// target makes a group's target, throttled if it is the card.
func (e *env) target(group string, size int64) (*target, error) {
	var (
		t   *target
		err error
	)
	if group == "file" {
		t, err = newFile(e.opt.Dir, size)
	} else {
		t, err = newLoop(size)
	}
	if err != nil {
		return nil, err
	}
	e.close = append(e.close, t.close)
	if group == "card" {
		h, err := newThrottle(t, cardRead, cardWrite)
		if err != nil {
			return nil, err
		}
		e.close = append(e.close, h.close)
	}
	return t, nil
}

// place makes a group's network.
func (e *env) place(ctx context.Context, group string) (*place, error) {
	p := &place{where: here}
	rate := map[string]int64{"1gbit": gigabit, "100mbit": hundred}[group]
	if rate == 0 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		p.base, p.srv = "http://"+ln.Addr().String(), serve(ctx, ln, e.images)
	} else {
		w, err := lab.NewWire(ctx, rate)
		if err != nil {
			return nil, err
		}
		e.close = append(e.close, w.Close)
		ln, err := w.Server.Listen(80)
		if err != nil {
			return nil, err
		}
		p.where, p.base, p.srv = w.Client.Do, "http://"+w.Server.Server(), serve(ctx, ln, e.images)
	}
	e.close = append(e.close, p.srv.http.Close)
	return p, nil
}

// contenders lists who takes part in a case.
func (e *env) contenders(c *Case) []contender {
	all := append(e.alone(c), e.ours(Ours), e.ours(Verified))
	if c.target.loop != nil && (c.Group == "loop" || c.Group == "card") {
		all = append(all, e.ours(Reflash))
	}
	if e.opt.NoPeers {
		return all
	}
	peers := e.peers(c.Format)
	if c.Group != "loop" { // the slowest part decides there: one peer shows it
		peers = peers[:1]
	}
	return append(all, peers...)
}

// rounds is how often everybody has a turn. A round less will do for what takes minutes,
// and for wires and media whose speed is set.
func (e *env) rounds(c *Case) int {
	if c.Group != "loop" || strings.HasPrefix(c.Format, "xz") {
		return max(1, e.opt.Rounds-1)
	}
	return e.opt.Rounds
}

// measure has all contenders of a case take turns.
func (e *env) measure(ctx context.Context, c *Case, p *progress) (*CaseResult, error) {
	r := &CaseResult{Case: *c, Samples: map[string][]Sample{}}
	all := e.contenders(c)
	for _, cont := range all {
		r.Order = append(r.Order, cont.name)
	}
	for round := range e.rounds(c) {
		for _, cont := range all {
			if cont.name != Reflash { // which finds what the one before it left
				if err := c.target.clear(); err != nil {
					return nil, err
				}
			}
			sent := c.place.srv.sent.Load()
			s, err := cont.run(ctx, c)
			if err != nil {
				return nil, err
			}
			s.Fetched = c.place.srv.sent.Load() - sent
			r.Samples[cont.name] = append(r.Samples[cont.name], s)
			p.step(fmt.Sprintf("round %d, %s, %s: %s: %.2f s", round+1, c.Group, c.Format, cont.name, s.Seconds))
		}
	}
	return r, nil
}

// progress tells how far a run is.
type progress struct {
	out         io.Writer
	start       time.Time
	done, total int
}

func (p *progress) step(what string) {
	p.done++
	took := time.Since(p.start)
	left := took / time.Duration(p.done) * time.Duration(p.total-p.done)
	fmt.Fprintf(p.out, "[%d/%d, %v left] %s\n", p.done, p.total, left.Round(time.Second), what)
}

// machine describes the machine that runs this.
func machine() string {
	model := "unknown processor"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	mem, _ := os.ReadFile("/proc/meminfo")
	var kib int64
	fmt.Sscanf(string(mem), "MemTotal: %d kB", &kib)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s, %d GiB of RAM, Linux %s, %s", cores(), model, (kib+1<<19)>>20, cmp.Or(strings.TrimSpace(string(kernel)), "?"), goVersion())
}
