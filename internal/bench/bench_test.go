package bench

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// TestMain lets the test program be the part that measures a part alone.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "-part" {
		if err := Part(context.Background(), os.Args[2], os.Args[3:]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "-hold" {
		if err := hold(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// hold makes a throttled target, says which, and waits to be killed.
func hold() error {
	t, err := newLoop(8 << 20)
	if err != nil {
		return err
	}
	h, err := newThrottle(t, cardRead, cardWrite)
	if err != nil {
		return err
	}
	os.Stdout.WriteString(t.path + " " + h.device + " " + h.dir + "\n")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, h.close(), t.close())
}

// TestKilled kills a run, which must leave nothing behind.
func TestKilled(t *testing.T) {
	flashtest.NeedRoot(t)
	cmd := exec.Command(os.Args[0], "-hold")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	end, stderr, err := os.Pipe() // ends when the program and all that it started have
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.Close()
	var dev, number, dir string
	if _, err := fmt.Fscan(stdout, &dev, &number, &dir); err != nil {
		t.Fatal(err)
	}
	limits := func() string {
		b, err := os.ReadFile(filepath.Join(dir, "blkio.throttle.write_bps_device"))
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	if !strings.Contains(limits(), number+" ") {
		t.Errorf("%s is not slowed down: %q", dev, limits())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(end); err != nil || len(out) > 0 {
		t.Errorf("%s%v", out, err)
	}
	cmd.Wait() // it was killed
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	// The same hierarchy once more: are the limits gone?
	again, err := newLoop(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	h, err := newThrottle(again, cardRead, cardWrite)
	if err != nil {
		t.Fatal(err)
	}
	dir = h.dir
	if again.path != dev && strings.Contains(limits(), number+" ") {
		t.Errorf("%s is still slowed down: %q", dev, limits())
	}
	if err := h.close(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(dev), "loop/backing_file")); err == nil && strings.Contains(string(b), "netboot-imager-bench") && again.path != dev {
		t.Errorf("%s is still over %s", dev, b)
	}
}

// TestRun measures everything that there is to measure, with images so small that the
// times say nothing, and looks at what is not time.
func TestRun(t *testing.T) {
	flashtest.NeedRoot(t)
	dir := t.TempDir()
	imager := filepath.Join(dir, "imager")
	flashtest.Run(t, "go", "build", "-o", imager, "../../imager")
	t.Chdir(dir) // the usual directory is not an absolute path either
	res, err := Run(t.Context(), Options{
		Dir: ".", Data: files(t, 8<<20), Imager: imager, Rounds: 1, Out: t.Output(),
		Formats: []string{"gzip"},
		sizes:   [2]imageSize{{16 << 20, 4 << 20}, {24 << 20, 8 << 20}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range res.Cases {
		size := res.Images[c.Image].Sizes[c.Format]
		if size == 0 || c.Format != "raw" && size >= res.Images[c.Image].Logical {
			t.Errorf("%s: the %s image has %d bytes", c.Format, c.Image, size)
		}
		for name, samples := range c.Samples {
			s := samples[0]
			if s.Seconds <= 0 || s.CPU < 0 || s.RSS <= 0 {
				t.Errorf("%s, %s, %s: %+v", c.Group, c.Format, name, s)
			}
			fetches := name != Decode && name != Write && name != Hash
			// curl may ask for more than it needs; the bmap comes from a file.
			if fetches && s.Fetched < size || !fetches && s.Fetched != 0 {
				t.Errorf("%s, %s, %s: fetched %d bytes, the image has %d", c.Group, c.Format, name, s.Fetched, size)
			}
			if data := res.Images[c.Image].Data; (name == Ours || name == Write) && s.Written < data/2 {
				t.Errorf("%s, %s, %s: wrote %d bytes of %d", c.Group, c.Format, name, s.Written, data)
			}
			if ours := name == Ours || name == Verified; ours && (s.Phases == nil || s.Phases.Write <= 0 || s.Bottleneck == "") {
				t.Errorf("%s, %s, %s: no stages or no bottleneck", c.Group, c.Format, name)
			}
		}
	}
	groups := map[string]int{}
	for _, c := range res.Cases {
		groups[c.Group]++
	}
	for _, g := range Groups {
		if groups[g] == 0 {
			t.Errorf("nothing was measured of %s", g)
		}
	}
	if slow := res.group("100mbit")[0]; slow.seconds(Download) < float64(res.Images["small"].Sizes[slow.Format])*8/hundred*0.8 {
		t.Errorf("100 Mbit/s carried %d bytes in %.2f s", res.Images["small"].Sizes[slow.Format], slow.seconds(Download))
	}
	if card := res.group("card")[0]; card.seconds(Write) < float64(card.first(Write).Written)/cardWrite*0.9 {
		t.Errorf("a card of 40 MB/s took %d bytes in %.2f s", card.first(Write).Written, card.seconds(Write))
	}
	pages(t, res)
}

// pages looks at the tables and the plot.
func pages(t *testing.T, res *Results) {
	dir := t.TempDir()
	page := filepath.Join(dir, "performance.md")
	if err := res.WriteDocs(dir); err == nil {
		t.Error("WriteDocs made up a page")
	}
	if err := os.WriteFile(page, []byte("before\n"+beginMark+"\nold\n"+endMark+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(dir, "results.json")
	if err := res.Save(saved); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(saved)
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.WriteDocs(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if !strings.HasPrefix(text, "before\n"+beginMark) || !strings.HasSuffix(text, endMark+"\nafter\n") || strings.Contains(text, "old") {
		t.Errorf("the page around the tables changed:\n%s", text)
	}
	for _, want := range []string{"| gzip | large, 1 |", "curl \\| pigz -d \\| dd", "bmaptool with a bmap", "peak RSS"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	svg, err := os.ReadFile(filepath.Join(dir, "performance.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for dec := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := dec.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
}

// files makes a directory with size bytes of files that compress.
func files(t *testing.T, size int) string {
	dir := t.TempDir()
	img := flashtest.Image(size+size/4, 1)
	for i, piece := range slices.Collect(slices.Chunk(img[1<<20:], 100_000)) {
		sub := filepath.Join(dir, string(rune('a'+i%5)))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, "file"+string(rune('0'+i/5%10))+string(rune('a'+i/50))), piece, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestAdd adds results to others.
func TestAdd(t *testing.T) {
	one := func(group, format string, seconds ...float64) CaseResult {
		c := CaseResult{Case: Case{Group: group, Format: format}, Samples: map[string][]Sample{}}
		for _, s := range seconds {
			c.Samples[Ours] = append(c.Samples[Ours], Sample{Seconds: s})
		}
		return c
	}
	image := func(sizes map[string]int64) map[string]ImageInfo {
		return map[string]ImageInfo{"large": {Logical: 10, Data: 5, Sizes: sizes}}
	}
	r := &Results{Images: image(map[string]int64{"gzip": 3}), Cases: []CaseResult{one("loop", "gzip", 9), one("card", "raw", 8)}}
	err := r.Add(&Results{Images: image(map[string]int64{"raw": 10}), Cases: []CaseResult{one("loop", "raw", 1), one("loop", "gzip", 2, 4, 3)}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range r.Cases {
		got = append(got, fmt.Sprintf("%s %s %g of %d", c.Group, c.Format, c.seconds(Ours), c.rounds()))
	}
	if want := []string{"loop raw 1 of 1", "loop gzip 3 of 3", "card raw 8 of 1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if sizes := r.Images["large"].Sizes; sizes["gzip"] != 3 || sizes["raw"] != 10 {
		t.Errorf("sizes: %v", sizes)
	}
	for _, other := range []*Results{{Machine: "another"}, {Quick: true}, {Images: map[string]ImageInfo{"large": {Logical: 11, Data: 5}}}} {
		if err := r.Add(other); err == nil {
			t.Errorf("%+v could be added", other)
		}
	}
}

// TestJudge compares made-up results with the targets.
func TestJudge(t *testing.T) {
	s := func(seconds ...float64) (all []Sample) {
		for _, x := range seconds {
			all = append(all, Sample{Seconds: x, RSS: 100 << 20})
		}
		return all
	}
	r := &Results{Cases: []CaseResult{{
		Case: Case{Group: "loop", Format: "gzip"},
		Samples: map[string][]Sample{
			Download: s(1, 1), Decode: s(3, 5), Write: s(2, 2),
			Ours: s(9, 5, 5), Verified: s(6), "curl | gunzip | dd": s(20, 21, 900),
		},
	}}}
	want := []verdict{
		{`loop, gzip: imager, not verified / ` + "`curl \\| gunzip \\| dd`", 5. / 21, 0.25, ""},
		{`loop, gzip: imager, verified / ` + "`curl \\| gunzip \\| dd`", 6. / 21, 0.35, ""},
		{`loop, gzip: imager, not verified / the limit, decode alone`, 5. / 4, 1.10, ""},
		{`peak RSS of the imager in all runs, MiB,`, 100, 192, ""},
	}
	if got := r.judge(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	// The processor is what is slow only if the parts need it for longer than the slowest takes.
	r.Cores = 2
	r.Cases[0].Samples[Hash] = s(2)
	for _, tt := range []struct {
		busy float64 // of each part
		note string
	}{
		{2, ""},
		{2.25, "; bottleneck: CPU. The parts and SHA-256 alone take 9.0 CPU seconds, on 2 cores 4.50 s or 1.12 × the limit; the imager took 1.11 × that"},
	} {
		for _, part := range []string{Hash, Download, Decode, Write} {
			for i := range r.Cases[0].Samples[part] {
				r.Cases[0].Samples[part][i].Busy = tt.busy
			}
		}
		if got := r.judge()[2].note; got != tt.note {
			t.Errorf("parts of %g CPU seconds each: got %q, want %q", tt.busy, got, tt.note)
		}
	}
	var b strings.Builder
	r.targets(&b)
	for _, want := range []string{"3 of 4 are reached.", "| 1.25 | **missed**; bottleneck: CPU. "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}

// stopAt cancels when a text is written to it.
type stopAt struct {
	text   string
	cancel context.CancelFunc
}

func (s stopAt) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.text) {
		s.cancel()
	}
	return len(p), nil
}

// TestInterrupted: what was measured before a run ended early is not lost.
func TestInterrupted(t *testing.T) {
	flashtest.NeedRoot(t)
	dir := t.TempDir()
	imager := filepath.Join(dir, "imager")
	flashtest.Run(t, "go", "build", "-o", imager, "../../imager")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	res, err := Run(ctx, Options{
		Dir: dir, Data: files(t, 8<<20), Imager: imager, Rounds: 1, Out: stopAt{"file, gzip: write alone", cancel},
		Formats: []string{"gzip"}, Groups: []string{"loop", "file"}, NoPeers: true,
		sizes: [2]imageSize{{16 << 20, 4 << 20}, {24 << 20, 8 << 20}},
	})
	if err == nil {
		t.Fatal("an interrupted run ended well")
	}
	if len(res.Cases) != 1 || res.Cases[0].Group != "loop" || res.Cases[0].seconds(Verified) == 0 {
		t.Errorf("%v: the results are %+v", err, res)
	}
}

func TestForecast(t *testing.T) {
	s := func(seconds float64) []Sample { return []Sample{{Seconds: seconds, Busy: 2 * seconds, Fetched: 450e6}} }
	image := ImageInfo{Logical: 2 << 30, Data: 900e6, Sizes: map[string]int64{"raw": 2 << 30, "gzip": 500e6, "bgzip": 500e6}}
	r := &Results{Cores: 2, Images: map[string]ImageInfo{"large": image}, Cases: []CaseResult{
		{Case: Case{Group: "loop", Format: "raw", Image: "large"}, Samples: map[string][]Sample{Hash: s(1), Download: s(1), Decode: s(0.1), Write: s(0.4)}},
		{Case: Case{Group: "loop", Format: "gzip", Image: "large"}, Samples: map[string][]Sample{Hash: s(1.5), Download: s(1), Decode: s(2), Write: s(0.5)}},
		{Case: Case{Group: "loop", Format: "bgzip", Image: "large"}, Samples: map[string][]Sample{Hash: s(1.5), Download: s(1), Decode: s(2), Write: s(0.5)}},
	}}
	if f, ok := r.forecast(&r.Cases[1]); ok {
		t.Errorf("without a wire: %v", f)
	}
	r.Cases = append(r.Cases, CaseResult{Case: Case{Group: "1gbit", Format: "gzip", Image: "large"}, Samples: map[string][]Sample{Download: s(4)}})
	for _, tt := range []struct {
		c        int
		parts    [4]float64
		cpu      float64
		one, six string
		headroom float64
	}{
		{1, [4]float64{500 / 112.5, 2, 1, 2}, 10, "network", "all cores", 500 / 112.5 / 2.5},
		{2, [4]float64{500 / 112.5, 1, 1, 2}, 10, "network", "all cores", 500 / 112.5 / 2.5},
		{0, [4]float64{(2 << 30) / 112.5e6, 0.1, 1, 2}, 5, "network", "network", (2 << 30) / 112.5e6 / 1.25},
	} {
		f, ok := r.forecast(&r.Cases[tt.c])
		if !ok || f.parts != tt.parts || f.cpu != tt.cpu || math.Abs(f.headroom()-tt.headroom) > 1e-9 {
			t.Errorf("%s: got %v, %v, %g; want %v", r.Cases[tt.c].Format, f, ok, f.headroom(), tt)
		}
		if one, _ := f.slowest(1); one != tt.one {
			t.Errorf("%s: the slowest is %s", r.Cases[tt.c].Format, one)
		}
		if six, _ := f.slowest(6); six != tt.six {
			t.Errorf("%s: with cores six times slower, the slowest is %s", r.Cases[tt.c].Format, six)
		}
	}
	if page := r.Markdown(); !strings.Contains(page, "| gzip | 4.4 | 2.0 | 1.0 | 2.0 | 2.5 | network, 4.4 s | all cores, 7.5 s | 1.8 |") {
		t.Errorf("the page: %s", page)
	}
}
