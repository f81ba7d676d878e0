package faults

import (
	le "encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// crashRows are deaths of the program at a moment that is known.
var crashRows = []row{
	{
		fault: "kill -9 in mid-write; started again, GET /status tells of it", serve: slowly,
		ask:    killWhile(writing),
		status: 0, says: "the service was restarted in the middle of job", after: cleared,
	}, {
		fault: "kill -9 while it looks at the image; started again, GET /status tells of it", serve: func(t testing.TB, s *flashtest.Server) { s.Stall = 1000 },
		ask:    killWhile(func(s status) bool { return s.Stage == "checking" }),
		status: 0, says: "was not changed", after: unchanged,
	}, {
		fault: "SIGTERM in mid-write; started again, GET /status tells of it", serve: slowly,
		ask: func(t testing.TB, s *scene) (int, answer, error) {
			go s.write()
			if err := s.im.await(writing); err != nil {
				return 0, answer{}, err
			}
			s.im.stop(t)
			return s.restarted(t)
		},
		status: 0, says: "cancelled by the end of the service", after: cleared,
	},
}

func slowly(_ testing.TB, s *flashtest.Server) { s.Slow = 20 * time.Millisecond }

// TestCrash: the program dies.
func TestCrash(t *testing.T) {
	matrix(t, power, crashRows)
}

// killWhile kills the imager at a moment of the write, starts it again, and returns what GET
// /status says then.
func killWhile(moment func(status) bool) func(testing.TB, *scene) (int, answer, error) {
	return func(t testing.TB, s *scene) (int, answer, error) {
		go s.write() // its answer never comes
		if err := s.im.await(moment); err != nil {
			return 0, answer{}, err
		}
		s.im.kill()
		return s.restarted(t)
	}
}

// restarted starts the imager again and returns what GET /status says.
func (s *scene) restarted(t testing.TB) (int, answer, error) {
	s.im = launch(t, s.place, s.bin, s.dir, s.im.port)
	st, err := s.im.status()
	if err != nil {
		return 0, answer{}, err
	}
	a := answer{Message: st.Message}
	if st.Error != nil {
		a.Error = *st.Error
	}
	return 0, a, nil
}

// TestKill kills the program by SIGKILL at random moments, half of them in the last quarter of
// a write, where the first MiB is written. The disk then has the image, the old system or
// no partition table; the program, started again, knows of it; and a write then works.
func TestKill(t *testing.T) {
	bin := binary{path: need(t, program)}
	slots := recordSlots(power, 2)
	for i, format := range []string{"raw", "gzip"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			img := sampleImage()
			s := flashtest.NewServer(t, compressed(t, format, img))
			d := loopDisk(t, diskSize)
			// The first write tells how long one takes.
			s.Slow = time.Millisecond
			begin := time.Now()
			sc := &scene{bin: bin, place: loopback, dir: t.TempDir(), server: s, disk: d, body: map[string]any{"device": d.dev, "image_url": s.URL()}}
			sc.im = startIn(t, loopback, bin, sc.dir, d.dev, nil)
			if code, a, err := sc.write(); err != nil || code != 200 {
				t.Fatalf("the first write: %d %s %v", code, a.raw, err)
			}
			whole := time.Since(begin)
			var ends tally
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for range sometimes(4, 60) {
				at := rng.Float64() * 1.1
				if rng.IntN(2) == 0 {
					at = 0.75 + rng.Float64()*0.35
				}
				ends.add(killAt(t, sc, img, time.Duration(at*float64(whole))))
			}
			slots[i].tally("kill -9 at a random moment, "+format+"; then started again, and written again", &ends)
		})
	}
}

// killAt kills the imager some time into a write, starts it again, and writes again.
func killAt(t *testing.T, sc *scene, img []byte, after time.Duration) *outcome {
	t.Helper()
	sc.disk.reset(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		sc.write() // its answer may come or not
	}()
	time.Sleep(after) // it is a test about time
	sc.im.kill()
	<-done
	begin := time.Now()
	_, a, err := sc.restarted(t)
	if err != nil {
		t.Fatal(err)
	}
	o := &outcome{answer: a, took: time.Since(begin), imager: sc.im, image: img}
	o.after, o.content = sc.disk.examine(t, img)
	switch {
	case o.after == corrupt:
		t.Fatalf("killed after %v: the disk is %s", after, o.after)
	case o.after == cleared && !strings.Contains(a.Error, "restarted in the middle"):
		t.Fatalf("killed after %v: the disk is %s, and GET /status says %q", after, o.after, a.sentence())
	}
	code, again, err := sc.write()
	if err != nil || code != 200 {
		t.Fatalf("the write after the one that was killed after %v: %d %s %v", after, code, again.raw, err)
	}
	if after, _ := sc.disk.examine(t, img); after != whole {
		t.Fatalf("the write after the one that was killed: success, and the disk is %s", after)
	}
	return o
}

// TestPowerCut records what a write does to its medium, and makes every disk that a power
// cut could leave: at each operation, with all, none or some of the sectors that were
// written since the last flush. Each has the image, the old system or no partition table.
func TestPowerCut(t *testing.T) {
	bin := binary{path: need(t, program)}
	tests := []struct {
		name   string
		old    func(testing.TB) []byte
		image  func(testing.TB) []byte
		verify bool
	}{
		{"an MBR image over an old system with an MBR", oldLoader, imageLoader, true},
		{"an MBR image over an old system with a GPT", gptImage(cutSize, 512), imageLoader, true},
		{"a GPT image as large as the disk, over an old system with an MBR", oldLoader, gptImage(cutSize, 512), true},
		{"a GPT image as large as the disk, without reading back", oldLoader, gptImage(cutSize, 512), false},
	}
	slots := recordSlots(power, len(tests))
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			old, img := tt.old(t), tt.image(t)
			ops := recorded(t, bin, old, img, tt.verify)
			ends, err := cutEverywhere(t, ops, old, img, rand.New(rand.NewPCG(uint64(i), 8)))
			if err != nil {
				t.Fatal(err)
			}
			slots[i].tally(fmt.Sprintf("power cut at each of %d operations, the disk's write cache lost, kept or torn: %s", len(ops), tt.name), ends)
			slots[i].Says, slots[i].Took = "", time.Since(begin)
		})
	}
}

// oldLoader and imageLoader are the usual ones with a boot loader between the MBR and the
// first partition, as many boards have it: no sector of the first MiB may be missed.
func oldLoader(testing.TB) []byte   { return withLoader(oldSystem(cutSize), 1) }
func imageLoader(testing.TB) []byte { return withLoader(flashtest.Image(6*mib, 1), 2) }

// cutSize is the size of disks that TestPowerCut makes copies of, many hundreds.
const cutSize = 8 * mib

func withLoader(img []byte, seed uint64) []byte {
	img = slices.Clone(img)
	rng := rand.New(rand.NewPCG(seed, 10))
	for at := 512; at < mib; at += 8 {
		le.LittleEndian.PutUint64(img[at:], rng.Uint64())
	}
	return img
}

// recorded writes img over old and returns what the medium was asked for.
func recorded(t *testing.T, bin binary, old, img []byte, verify bool) []op {
	t.Helper()
	m := &medium{size: int64(len(old))}
	d := mediumDisk(t, m)
	m.mu.Lock()
	m.data, m.record = slices.Clone(old), true
	m.mu.Unlock()
	s := flashtest.NewServer(t, img)
	im := startImager(t, bin, d.dev, nil)
	code, a, err := im.tryWrite(map[string]any{"device": d.dev, "image_url": s.URL(), "verify": verify})
	if err != nil || code != 200 {
		t.Fatalf("%d %s %v", code, a.raw, err)
	}
	im.stop(t)
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.ops)
}

// cutEverywhere judges the disks that power cuts can leave. The error tells of the first one
// that looks whole and is not.
func cutEverywhere(t *testing.T, ops []op, old, img []byte, rng *rand.Rand) (ends *tally, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk.img")
	stable := slices.Clone(old)
	var pending []op
	ends = &tally{}
	judge := func(k int, how string, disk []byte) {
		if err != nil {
			return
		}
		// The tools read a file; only where something begins that they could take for a table
		// is there a need to ask them.
		path := ""
		if !isZero(disk[:4096]) || ends.n%16 == 0 {
			if err := os.WriteFile(file, disk, 0o600); err != nil {
				t.Fatal(err)
			}
			path = file
		}
		o := &outcome{after: classify(t, path, disk, old, img)}
		if o.after == corrupt {
			err = fmt.Errorf("power cut at operation %d of %d (%s): the disk looks whole and is neither the image nor the old system; it has %s", k, len(ops), how, differences(disk, old, img))
		}
		ends.add(o)
	}
	for k, o := range ops {
		if o.sync {
			for _, p := range pending {
				p.apply(stable, nil)
			}
			pending = nil
			continue
		}
		pending = append(pending, o)
		judge(k, "nothing of the cache was kept", stable)
		all := slices.Clone(stable)
		for _, p := range pending {
			p.apply(all, nil)
		}
		judge(k, "all of the cache was kept", all)
		// The first sector decides whether the rest counts.
		if slices.ContainsFunc(pending, func(o op) bool { return o.off == 0 }) {
			for _, first := range []bool{true, false} {
				torn := slices.Clone(stable)
				for _, p := range pending {
					p.apply(torn, func(at int64) bool { return (at == 0) == first })
				}
				judge(k, fmt.Sprintf("the first sector of the cache was kept: %v, the others: %v", first, !first), torn)
			}
		}
		for range sometimes(2, 12) {
			torn := slices.Clone(stable)
			chance := rng.Float64()
			for _, p := range pending {
				p.apply(torn, func(int64) bool { return rng.Float64() < chance })
			}
			judge(k, "some sectors of the cache were kept", torn)
		}
	}
	judge(len(ops), "at the end", stable)
	if err == nil && classify(t, "", stable, old, img) != whole {
		err = fmt.Errorf("power cut after the success: the disk is not the image: something was not flushed; it has %s", differences(stable, old, img))
	}
	return ends, err
}

// apply does the operation to a disk, of which only the sectors arrive whose offset has
// keep return true; all if keep is nil.
func (o op) apply(disk []byte, keep func(at int64) bool) {
	const sector = 512 // what a disk writes in one piece
	for at := int64(0); at < o.n; at += sector {
		if keep != nil && !keep(o.off+at) {
			continue
		}
		piece := disk[o.off+at : o.off+min(at+sector, o.n)]
		if o.data == nil {
			clear(piece)
		} else {
			copy(piece, o.data[at:])
		}
	}
}

// differences says where a disk is neither as one nor as the other.
func differences(disk, old, img []byte) string {
	count := func(other []byte) (n int, first int) {
		first = -1
		for at := 0; at+512 <= len(other); at += 512 {
			if !slices.Equal(disk[at:at+512], other[at:at+512]) {
				if n++; first < 0 {
					first = at
				}
			}
		}
		return n, first
	}
	a, at := count(old)
	b, bt := count(img)
	return fmt.Sprintf("%d sectors that differ from the old system (first at byte %d) and %d from the image (first at byte %d)", a, at, b, bt)
}
