package flash

import (
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/source"
)

// TestHint leads users to another format where that would help, and only there.
func TestHint(t *testing.T) {
	for _, format := range []string{source.Raw, source.Gzip, source.XZ, source.Zstd, source.Bzip2} {
		for _, b := range []string{BottleneckNetwork, BottleneckDecompress, BottleneckDisk, ""} {
			slow := format == source.Gzip || format == source.XZ || format == source.Bzip2
			got := hint(b, format)
			if want := slow && b == BottleneckDecompress; strings.Contains(got, "tools/repack") != want || !want && got != "" {
				t.Errorf("hint(%q, %q) = %q", b, format, got)
			}
		}
	}
	now := time.Now()
	p := NewProgress(func() time.Time { return now })
	p.begin(StageWriting, "Writing")
	now = now.Add(time.Second)
	p.sample(counters{bytes: 1 << 20, total: -1, transfer: -1, format: source.Gzip})
	if m := p.Snapshot().Message; !strings.HasPrefix(m, "Wrote 1.0 MiB; ") || !strings.Contains(m, "tools/repack") {
		t.Errorf("message = %q", m)
	}
}
