package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// mutant is a defect that the imager does not have, and the rows that must notice it.
type mutant struct {
	name  string // also the value of MUTANT that switches it on
	edits []edit
	rows  []string // faults of rows; each must fail
}

// edit replaces a piece of production code, which must be there once. $ON in it stands
// for an expression that is true when the mutant is switched on.
type edit struct{ file, old, new string }

// mutantTable are defects that programs of this kind have, or that this one could get
// by a careless change.
var mutantTable = []mutant{
	{"ignores that a body is shorter than Content-Length", []edit{{
		"internal/source/body.go", "	n, err := b.read(p)\n	if n > 0 {", "	n, err := b.read(p)\n	if $ON && errors.Is(err, io.ErrUnexpectedEOF) {\n		return 0, io.EOF\n	}\n	if n > 0 {",
	}}, []string{"less than Content-Length each time, behind the last partition, raw", "connections break after every 1 MiB (FIN)"}},
	{"takes the early end of a gzip stream for its end (as image2disk does)", []edit{{
		"internal/source/source.go", "	n, err := s.dec.Read(p)\n", "	n, err := s.dec.Read(p)\n	if $ON && errors.Is(err, io.ErrUnexpectedEOF) {\n		err = io.EOF\n	}\n",
	}}, []string{"BGZF without its end marker"}},
	{"ignores junk behind the end", []edit{{
		"internal/source/source.go", "	n, err := s.dec.Read(p)\n", "	n, err := s.dec.Read(p)\n	if $ON && err != nil && trailing(err) {\n		err = io.EOF\n	}\n",
	}}, []string{"junk behind its end: gzip", "junk behind its end: xz", "junk behind its end: zstd", "junk behind its end: bzip2"}},
	{"ignores gzip's checksum", []edit{
		{"internal/gunzip/reader.go", "case crc != z.crc:", "case !$ON && crc != z.crc:"},
		{"internal/gunzip/pool.go", "case crc32.ChecksumIEEE(j.dst) != ", "case !$ON && crc32.ChecksumIEEE(j.dst) != "},
	}, []string{"a wrong CRC-32 in the gzip trailer"}},
	{"ignores that the ETag changed", []edit{{
		"internal/source/body.go", "	case !same(id.etag, other.etag):", "	case !$ON && !same(id.etag, other.etag):",
	}}, []string{"the image changes between two attempts, and with it the ETag; the server ignores If-Range"}},
	{"ignores that Last-Modified changed", []edit{{
		"internal/source/body.go", "	case !strong && !same(id.modified, other.modified):", "	case !$ON && !strong && !same(id.modified, other.modified):",
	}}, []string{"the image changes between two attempts, and with it Last-Modified; the server ignores If-Range"}},
	{"believes 206 without looking at the range", []edit{{
		"internal/source/body.go", "if !ok || start != b.offset {", "if !ok || !$ON && start != b.offset {",
	}}, []string{"206 with another range than the one asked for"}},
	{"trusts a server without validators", []edit{{
		"internal/source/body.go", "	if !bytes.Equal(sum.Sum(nil), before) {", "	if !$ON && !bytes.Equal(sum.Sum(nil), before) {",
	}}, []string{"the image changes between two attempts, and the server has no validators"}},
	{"writes whatever status the server answers", []edit{{
		"internal/source/body.go", "	return &ServerError{b.url, \"answered \" + resp.Status", "	if $ON {\n		return nil\n	}\n	return &ServerError{b.url, \"answered \" + resp.Status",
	}}, []string{"401", "404 with an HTML page"}},
	{"checks the image's host in the URL only, not where it is led to", []edit{{
		"internal/source/hosts.go", "			if err != nil || !h.contains(ap.Addr())", "			if $ON {\n				return nil\n			}\n			if err != nil || !h.contains(ap.Addr())",
	}}, []string{"302 to a host that is not allowed, which has an image"}},
	{"lets prefixes in by comparing strings (as the old service did)", []edit{{
		"internal/guard/guard.go", "		if p.Contains(a) {", "		if p.Contains(a) || $ON && len(a.String()) >= 7 && a.String()[:7] == p.Addr().String()[:min(7, len(p.Addr().String()))] {",
	}}, []string{"allowed is 127.0.1.0/24, the client is 127.0.100.5"}},
	{"does not look at the token", []edit{{
		"internal/station/server.go", "		if err := a.guard.Token(addr, r.Header.Get(\"X-Netboot-Token\")); err != nil {", "		if err := a.guard.Token(addr, r.Header.Get(\"X-Netboot-Token\")); err != nil && !$ON {",
	}}, []string{"a wrong token"}},
	{"does not look whether it is a disk image", []edit{{
		"internal/flash/flash.go", "	if err != nil {\n		if p.opt.Force {", "	if err != nil {\n		if p.opt.Force || $ON {",
	}}, []string{"200 with an HTML page (a captive portal)"}},
	{"does not compare the image's size with its partitions", []edit{{
		"internal/flash/flash.go", "	if p.table == nil || p.opt.Force {\n		return nil", "	if p.table == nil || p.opt.Force || $ON {\n		return nil",
	}}, []string{"cut before its partition ends, and compressed after that", "cut between two gzip members"}},
	{"does not compare the SHA-256 of the request", []edit{{
		"internal/flash/write.go", "want != \"\" && p.receipt.ImageSHA256 != want {", "want != \"\" && !$ON && p.receipt.ImageSHA256 != want {",
	}}, []string{"one flipped bit in raw data, sha256 given", "the request's sha256 is another image's"}},
	{"writes the first MiB first", []edit{{
		"internal/flash/write.go", "	p.opt.Progress.begin(StageWriting, \"Writing\")\n", "	p.opt.Progress.begin(StageWriting, \"Writing\")\n	if $ON {\n		p.disk.WriteAt(padded(p.head, len(p.head), 0, p.disk), 0)\n	}\n",
	}}, []string{"stalls in the middle, raw"}},
	{"does not clear the first MiB", []edit{{
		"internal/flash/wipe.go", "	return p.clear(ctx, true)", "	if $ON {\n		p.state = Cleared\n		return nil\n	}\n	return p.clear(ctx, true)",
	}}, []string{"stalls in the middle, raw"}},
	{"does not clear the disk's end", []edit{{
		"internal/flash/wipe.go", "	return p.clear(ctx, true)", "	return p.clear(ctx, !$ON)",
	}}, []string{"the old system's backup GPT is at the disk's end"}},
	{"believes that the first MiB is cleared without reading it", []edit{{
		"internal/flash/wipe.go", "		if bytes.Equal(buf, zeroHead[:n]) {", "		if $ON || bytes.Equal(buf, zeroHead[:n]) {",
	}}, []string{"writes are confirmed and not stored: a worn-out card that has become read-only"}},
	{"skips the read-back", []edit{{
		"internal/flash/verify.go", "	if p.opt.NoVerify {\n		return nil", "	if p.opt.NoVerify || $ON {\n		return nil",
	}}, []string{"silent corruption: one bit of one sector is stuck"}},
	{"reads back from the page cache", []edit{
		{"internal/disk/target.go", "			if err := unix.Fadvise(", "			if $ON {\n				return f.ReadAt(p, off)\n			}\n			if err := unix.Fadvise("},
		{"internal/disk/target.go", "	if t.useDirect.Load() && off%t.align == 0", "	if !$ON && t.useDirect.Load() && off%t.align == 0"},
	}, []string{"silent corruption: one bit of one sector is stuck"}},
	{"takes a repair for done without reading it back", []edit{{
		"internal/flash/verify.go", "		still, err := p.differing(ctx, bad, false)\n", "		still, err := p.differing(ctx, bad, false)\n		if $ON {\n			still = nil\n		}\n",
	}}, []string{"silent corruption: one bit of one sector is stuck"}},
	{"does not read back the first MiB", []edit{{
		"internal/flash/verify.go", "failed == nil && bytes.Equal(got, want) {", "failed == nil && ($ON || bytes.Equal(got, want)) {",
	}}, []string{"silent corruption of the first MiB, always"}},
	{"does not look for copies of the first MiB", []edit{{
		"internal/flash/verify.go", "	if len(bad) > 0 {\n		return &MismatchError{p.spans(bad), \"they changed", "	if len(bad) > 0 && !$ON {\n		return &MismatchError{p.spans(bad), \"they changed",
	}}, []string{"a counterfeit card whose end is 1 MiB before the image's: only the first MiB wraps"}},
	{"does not clear the first MiB again after a late failure", []edit{{
		"internal/flash/verify.go", "		if err == nil {\n			return\n		}\n", "		if err == nil || $ON {\n			return\n		}\n",
	}}, []string{"EIO on the flush behind the first MiB", "a counterfeit card whose end is 1 MiB before the image's: only the first MiB wraps"}},
	{"takes a failed flush for a success", []edit{{
		"internal/disk/target.go", "	if err := t.buffered.Sync(); err != nil {", "	if err := t.buffered.Sync(); err != nil && !$ON {",
	}}, []string{"EIO on every flush"}},
	{"ignores that a write failed", []edit{{
		"internal/flash/put.go", "			_, err = l.disk.WriteAt(data[start:end], at)\n", "			_, err = l.disk.WriteAt(data[start:end], at)\n			if $ON {\n				err = nil\n			}\n",
	}}, []string{"EIO on write at byte 6295552, without reading back"}},
	{"follows symbolic links", []edit{{
		"internal/disk/node.go", "		return nil, refuse(\"is a symbolic link; name the disk itself in allowed_devices\")", "		if !$ON {\n			return nil, refuse(\"is a symbolic link; name the disk itself in allowed_devices\")\n		}\n		return nil, &NotPresentError{path, \"followed\"}",
	}}, []string{"a symbolic link to the disk"}},
	{"does not look whether the disk is mounted", []edit{
		{"internal/disk/open.go", "	} else if by != \"\" {", "	} else if by != \"\" && !$ON {"},
		{"internal/disk/open.go", "		excl = unix.O_EXCL\n", "		if !$ON {\n			excl = unix.O_EXCL\n		}\n"},
	}, []string{"one of its partitions is mounted"}},
	{"writes the first MiB in one piece", []edit{{
		"internal/flash/verify.go", "	first := min(p.disk.BlockSize(), len(data))\n", "	first := min(p.disk.BlockSize(), len(data))\n	if $ON {\n		first = 0\n	}\n",
	}}, []string{powerCut}},
	{"does not flush before the first block", []edit{
		{"internal/flash/write.go", "\"Flushing the disk's cache\")\n	if err := p.disk.Sync(); err != nil {", "\"Flushing the disk's cache\")\n	if $ON {\n		return nil\n	}\n	if err := p.disk.Sync(); err != nil {"},
		{"internal/flash/verify.go", "		if _, err := p.disk.WriteAt(want, part.Start); err != nil {\n			return &DiskError{\"cannot write the first MiB", "		if $ON && part.Start > 0 {\n			_, err := p.disk.WriteAt(want, part.Start)\n			return err\n		}\n		if _, err := p.disk.WriteAt(want, part.Start); err != nil {\n			return &DiskError{\"cannot write the first MiB"},
	}, []string{powerCut}},
	{"does not flush the first MiB", []edit{
		{"internal/flash/verify.go", "		if err := p.disk.Sync(); err != nil {\n			return &DiskError{\"the first MiB cannot", "		if $ON {\n			return nil\n		}\n		if err := p.disk.Sync(); err != nil {\n			return &DiskError{\"the first MiB cannot"},
	}, []string{powerCut}},
	{"clears the first MiB and the disk's end in one piece", []edit{{
		"internal/flash/wipe.go", "	first := min(int64(d.BlockSize()), n)\n", "	first := min(int64(d.BlockSize()), n)\n	if $ON {\n		first = n\n	}\n",
	}}, []string{powerCut}},
	{"forgets that a write was running when it is started again", []edit{{
		"internal/station/state.go", "	case StageIdle, StageComplete, \"\":", "	case StageIdle, StageComplete, \"\", map[bool]string{true: flash.StageWiping}[$ON]:",
	}}, []string{"kill -9 in mid-write; started again, GET /status tells of it"}},
}

// mutated is the imager with all mutants in it, each switched on by MUTANT=name.
var mutated = sync.OnceValues(func() (string, error) {
	var edits []edit
	for _, m := range mutantTable {
		for _, e := range m.edits {
			e.new = strings.ReplaceAll(e.new, "$ON", fmt.Sprintf("mutant.On(%q)", m.name))
			edits = append(edits, e)
		}
	}
	file, err := overlay("mutated", edits, "testdata/switch/switch.go")
	if err != nil {
		return "", err
	}
	return build("imager-mutated", []string{"CGO_ENABLED=0"}, "-overlay", file)
})

// overlay makes edits of production code, which stays as it is: the file that it returns has
// go build read others in the place of some (-overlay in go help build). The package
// mutant is imported by each and made of the file extra.
func overlay(name string, edits []edit, extra string) (string, error) {
	const path = "github.com/openseastack/netboot-imager/internal/mutant"
	texts := map[string]string{}
	for _, e := range edits {
		if texts[e.file] == "" {
			b, err := os.ReadFile(filepath.Join("../..", e.file))
			if err != nil {
				return "", err
			}
			if strings.Count(string(b), "\nimport ") != 1 {
				return "", fmt.Errorf("%s has not one import declaration", e.file)
			}
			texts[e.file] = strings.Replace(string(b), "\nimport ", "\nimport \""+path+"\"\nimport ", 1)
		}
		if n := strings.Count(texts[e.file], e.old); n != 1 {
			return "", fmt.Errorf("%s has %d times the text %q, which a test replaces by %q: follow the change of that file there", e.file, n, e.old, e.new)
		}
		texts[e.file] = strings.Replace(texts[e.file], e.old, e.new, 1)
	}
	b, err := os.ReadFile(extra)
	if err != nil {
		return "", err
	}
	texts["internal/mutant/mutant.go"] = string(b)
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, text := range texts {
		to := filepath.Join(scratch, name, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return "", err
		}
		replace[filepath.Join(root, file)] = to
	}
	if b, err = json.Marshal(map[string]any{"Replace": replace}); err != nil {
		return "", err
	}
	file := filepath.Join(scratch, name+".json")
	return file, os.WriteFile(file, b, 0o644)
}

// TestMutants switches one defect on after the other and has the rows notice: in a full run
// all that are named with it, in a short one the first.
func TestMutants(t *testing.T) {
	bin := need(t, mutated)
	byFault := map[string]*row{}
	for _, rows := range [][]row{networkRows, imageRows, diskRows, abuseRows, crashRows, linkRows} {
		for i := range rows {
			byFault[rows[i].fault] = &rows[i]
		}
	}
	t.Run("none", func(t *testing.T) { // the build itself is right
		t.Parallel()
		for _, fault := range []string{"nothing is wrong (gzip)", "stalls in the middle, raw"} {
			if o := byFault[fault].run(t, binary{path: bin}); o.problem != nil {
				t.Error(o.problem)
			}
		}
	})
	slots := recordSlots(mutants, len(mutantTable))
	for i, m := range mutantTable {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			named := m.rows[:1]
			if *full {
				named = m.rows
			}
			var caught []string
			saw := ""
			for _, fault := range named {
				if fault == powerCut {
					err := cutMutant(t, binary{bin, m.name})
					if err == nil {
						t.Errorf("%q was not noticed by a power cut", m.name)
						continue
					}
					caught, saw = append(caught, fault), err.Error()
					continue
				}
				r := byFault[fault]
				if r == nil {
					t.Fatalf("no row %q", fault)
				}
				o := r.mutated(t, binary{bin, m.name})
				if o.problem == nil {
					t.Errorf("%q was not noticed by the row %q: %d %s", m.name, fault, o.status, o.answer.raw)
					continue
				}
				caught = append(caught, fault)
				if saw == "" {
					saw, _, _ = strings.Cut(o.problem.Error(), "\n")
				}
			}
			t.Logf("caught by %q: %s", caught, saw)
			slots[i].Fault, slots[i].Says, slots[i].Took = m.name, plain(saw), time.Since(begin)
			slots[i].After, slots[i].Count = caughtBy(caught), 1
		})
	}
}

// mutated runs the row with a mutant, as a test of its own, which gives back its disks.
func (r *row) mutated(t *testing.T, bin binary) *outcome {
	t.Helper()
	var o *outcome
	t.Run(r.fault, func(t *testing.T) { o = r.run(t, bin) })
	if o == nil {
		t.Fatalf("the row %q did not come to its end", r.fault)
	}
	return &outcome{status: o.status, answer: o.answer, problem: o.problem}
}

// powerCut stands for TestPowerCut among a mutant's rows.
const powerCut = "power cut at each operation"

// cutMutant is TestPowerCut for a mutant.
func cutMutant(t *testing.T, bin binary) error {
	old, img := oldLoader(t), imageLoader(t)
	_, err := cutEverywhere(t, recorded(t, bin, old, img, false), old, img, rand.New(rand.NewPCG(1, 8)))
	return err
}

func caughtBy(rows []string) string {
	if len(rows) == 0 {
		return "NOTHING"
	}
	s := "“" + rows[0] + "”"
	if n := len(rows) - 1; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}
