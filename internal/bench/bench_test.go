package bench

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"os"
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
	os.Exit(m.Run())
}

// TestRun measures everything that there is to measure, with images so small that the
// times say nothing, and looks at what is not time.
func TestRun(t *testing.T) {
	flashtest.NeedRoot(t)
	dir := t.TempDir()
	imager := filepath.Join(dir, "imager")
	flashtest.Run(t, "go", "build", "-o", imager, "../../imager")
	res, err := Run(t.Context(), Options{
		Dir: dir, Data: files(t, 12<<20), Imager: imager, Rounds: 1, Out: t.Output(),
		Formats: []string{"raw", "gzip", "xz-T0", "zstd"},
		sizes:   [2]imageSize{{80 << 20, 6 << 20}, {96 << 20, 12 << 20}},
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
			fetches := name != Decode && name != Write
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
	if slow := res.group("100mbit")[0]; slow.seconds(Download) < float64(res.Images["small"].Sizes[slow.Format])*8/hundred*0.9 {
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
	for _, want := range []string{"| zstd | large |", "curl \\| xz -dc -T0 \\| dd", "bmaptool with a bmap", "peak RSS"} {
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
		{`loop, gzip: imager, not verified / ` + "`curl \\| gunzip \\| dd`", 5. / 21, 0.25},
		{`loop, gzip: imager, verified / ` + "`curl \\| gunzip \\| dd`", 6. / 21, 0.35},
		{`loop, gzip: imager, not verified / the limit, decode alone`, 5. / 4, 1.10},
		{`peak RSS of the imager in all runs, MiB,`, 100, 192},
	}
	if got := r.judge(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
