package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// bench is an imager with a disk that is used for many writes in a row.
type bench struct {
	*imager
	disk *target
}

func newBench(t testing.TB, bin binary, keys map[string]any) *bench {
	d := loopDisk(t, diskSize)
	return &bench{startImager(t, bin, d.dev, keys), d}
}

// write puts the old system back, asks for a write, and judges what came of it.
func (b *bench) write(t testing.TB, s *flashtest.Server, img []byte, request map[string]any) (*outcome, error) {
	t.Helper()
	b.disk.reset(t)
	body := map[string]any{"device": b.disk.dev, "image_url": s.URL()}
	for k, v := range request {
		body[k] = v
	}
	begin := time.Now()
	code, a, err := b.tryWrite(body)
	if err != nil {
		t.Fatal(err)
	}
	o := &outcome{status: code, answer: a, took: time.Since(begin), imager: b.imager, server: s, image: img}
	st, err := b.status()
	if err != nil {
		t.Fatal(err)
	}
	o.after, o.content = b.disk.examine(t, img)
	return o, invariants(o, st)
}

// framings are how a server can come to send less than there is, and whether HTTP lets
// the client see that.
var framings = []struct {
	name  string
	short func(s *flashtest.Server, n int) // makes s send n bytes
}{
	{"a file that is too short, served well", func(s *flashtest.Server, n int) { s.Data = s.Data[:n] }},
	{"the same, chunked", func(s *flashtest.Server, n int) { s.Data, s.Chunked = s.Data[:n], true }},
	{"the same, ended by closing the connection", func(s *flashtest.Server, n int) { s.Data, s.Close = s.Data[:n], true }},
	{"less than Content-Length, each time", func(s *flashtest.Server, n int) { s.Cut = int64(n) }},
	{"chunked, the last chunk missing, each time", func(s *flashtest.Server, n int) { s.Cut, s.Chunked = int64(n), true }},
}

// formats are those of flashtest.Compress.
var formats = []string{"raw", "gzip", "pigz", "bgzip", "xz", "zstd", "bzip2"}

// TestTruncated cuts the download at every offset that matters, in every format and
// framing: whatever is missing, there is no success, and the disk is unchanged or not
// bootable.
func TestTruncated(t *testing.T) {
	bin := binary{path: need(t, program)}
	img := flashtest.Image(6*mib, 1)
	slots := recordSlots(network, len(formats)*len(framings))
	for i, format := range formats {
		for j, framing := range framings {
			t.Run(format+", "+framing.name, func(t *testing.T) {
				t.Parallel()
				sent := compressed(t, format, img)
				b := newBench(t, bin, map[string]any{"stall_timeout": "150ms"})
				var ends tally
				for _, n := range cuts(len(sent), uint64(i*100+j), sometimes(5, 150)) {
					s := flashtest.NewServer(t, sent)
					framing.short(s, n)
					o, err := b.write(t, s, img, nil)
					if err == nil && (o.status == 200 || o.status == 500 || o.after == whole) {
						err = fmt.Errorf("status %d, the disk is %s", o.status, o.after)
					}
					if err != nil {
						t.Fatalf("cut after %d of %d bytes: %v; %s", n, len(sent), err, o.answer.raw)
					}
					ends.add(o)
					s.Stop()
				}
				slots[i*len(framings)+j].tally(fmt.Sprintf("truncated %s: %s", format, framing.name), &ends)
			})
		}
	}
}

// cuts returns offsets below size: the first and last bytes, the borders of blocks and
// of the image's first MiB, and some at random; n of them, or all if there are fewer.
func cuts(size int, seed uint64, n int) []int {
	all := map[int]bool{}
	for i := range 24 {
		all[i], all[size-1-i] = true, true
	}
	for _, unit := range []int{512, 4096, 64 << 10, mib, 4 * mib} {
		for _, at := range []int{unit, size / unit * unit} {
			for d := -1; d <= 1; d++ {
				all[at+d] = true
			}
		}
	}
	rng := rand.New(rand.NewPCG(seed, 5))
	for len(all) < n {
		all[rng.IntN(size)] = true
	}
	var out []int
	for at := range all {
		if at >= 0 && at < size {
			out = append(out, at)
		}
	}
	sort.Ints(out)
	if len(out) > n {
		rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		// A cut within the last bytes is the one that is easiest to miss.
		out = append(out[:n-1:n-1], size-1)
		sort.Ints(out)
	}
	return slices.Compact(out)
}

// TestFlippedBit flips one bit anywhere in the compressed stream. Bits that do not matter
// (a time in a header) may be flipped; but success is only ever said over the right bytes.
func TestFlippedBit(t *testing.T) {
	bin := binary{path: need(t, program)}
	img := flashtest.Image(6*mib, 1)
	compressors := formats[1:]
	slots := recordSlots(network, len(compressors))
	for i, format := range compressors {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			sent := compressed(t, format, img)
			b := newBench(t, bin, nil)
			var ends tally
			rng := rand.New(rand.NewPCG(uint64(i), 6))
			for k := range sometimes(8, 250) {
				bit := rng.IntN(8 * len(sent))
				if k%4 == 0 { // headers and trailers
					bit = rng.IntN(8 * 64)
					if k%8 == 0 {
						bit = 8*len(sent) - 1 - bit
					}
				}
				s := flashtest.NewServer(t, flip(bit)(slices.Clone(sent)))
				o, err := b.write(t, s, img, nil)
				if err != nil {
					t.Fatalf("bit %d of byte %d of %d: %v; %s", bit%8, bit/8, len(sent), err, o.answer.raw)
				}
				ends.add(o)
				s.Stop()
			}
			slots[i].tally(fmt.Sprintf("one flipped bit in %s", format), &ends)
		})
	}
}

// tally counts how the writes of a sweep ended.
type tally struct {
	n     int
	ends  map[string]int
	order []string
	took  time.Duration // the longest
	says  map[string]string
}

func (c *tally) add(o *outcome) {
	end := string(o.after)
	if o.status != 0 {
		end = fmt.Sprintf("%d, %s", o.status, o.after)
	}
	if c.ends == nil {
		c.ends, c.says = map[string]int{}, map[string]string{}
	}
	if c.ends[end] == 0 {
		c.order = append(c.order, end)
		c.says[end] = plain(o.answer.sentence())
	}
	c.ends[end]++
	c.n++
	c.took = max(c.took, o.took)
}

// tally fills a record with a sweep's ends.
func (r *record) tally(fault string, c *tally) {
	var ends, says []string
	slices.SortStableFunc(c.order, func(a, b string) int { return c.ends[b] - c.ends[a] })
	for _, end := range c.order {
		ends = append(ends, fmt.Sprintf("%d× %s", c.ends[end], end))
		says = append(says, c.says[end])
	}
	r.Fault, r.Count, r.Says, r.After, r.Took = fault, c.n, says[0], strings.Join(ends, "; "), c.took
}
