package station

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// scrape returns GET /metrics, judged by promtool, as values by series.
func (g *rig) scrape() map[string]float64 {
	g.t.Helper()
	resp, err := http.Get(g.http.URL + "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		g.t.Fatalf("%s, %q: %v\n%s", resp.Status, resp.Header.Get("Content-Type"), err, b)
	}
	described(g.t, resp.Request, resp, b)
	if out := flashtest.Pipe(g.t, b, "promtool", "check", "metrics"); len(bytes.TrimSpace(out)) > 0 {
		g.t.Errorf("promtool: %s", out)
	}
	series := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if i := strings.LastIndex(line, "} "); i >= 0 {
			name, value = line[:i+1], strings.TrimSpace(line[i+2:])
		}
		if series[name], err = strconv.ParseFloat(value, 64); err != nil {
			g.t.Fatal(line, err)
		}
	}
	return series
}

func TestMetrics(t *testing.T) {
	g := newRig(t, 16*mib)
	img := flashtest.Image(4*mib, 1)
	gz := flashtest.Compress(t, "gzip", img)

	before := g.scrape()
	for _, name := range []string{`jobs_total{result="success"}`, `jobs_total{result="error"}`, `jobs_total{result="cancelled"}`, "image_bytes_total", `phase_seconds_total{phase="write"}`, "job_running", "job_progress_ratio"} {
		if v, ok := before["netboot_imager_"+name]; !ok || v != 0 {
			t.Errorf("at first: %s = %v, %v, want 0", name, v, ok)
		}
	}
	if _, ok := before["netboot_imager_last_success_timestamp_seconds"]; ok {
		t.Error("a success before the first")
	}

	// A success with two retries, an error, a dry run, and a cancelled one.
	broken := flashtest.NewServer(t, gz)
	broken.DropAfter = int64(len(gz))/2 - 1
	if a := g.write(broken, nil); a.status != 200 {
		t.Fatal(a)
	}
	if a := g.write(flashtest.NewServer(t, []byte("<html>")), nil); a.status != 422 {
		t.Fatal(a)
	}
	if a := g.write(flashtest.NewServer(t, gz), fields{"dry_run": true}); a.status != 200 {
		t.Fatal(a)
	}
	done := make(chan answer)
	go func() { done <- g.write(slowServer(t, flashtest.Image(12*mib, 1)), nil) }()
	g.wait("writing")
	during := g.scrape()
	if during["netboot_imager_job_running"] != 1 || during["netboot_imager_job_progress_ratio"] <= 0 || during[fmt.Sprintf("netboot_imager_disk_in_use{device=%q}", g.dev)] != 1 {
		t.Errorf("during a write: %v", during)
	}
	g.do("DELETE", "/write-image", nil)
	<-done

	after := g.scrape()
	for name, want := range map[string]float64{
		`jobs_total{result="success"}`:                1,
		`jobs_total{result="error"}`:                  1,
		`jobs_total{result="cancelled"}`:              1,
		"image_bytes_total":                           float64(len(img)),
		"transfer_bytes_total":                        float64(len(gz)),
		"retries_total":                               2,
		"repaired_ranges_total":                       0,
		"job_running":                                 0,
		"job_bytes_per_second":                        0,
		fmt.Sprintf("disk_present{device=%q}", g.dev): 1,
		fmt.Sprintf("disk_in_use{device=%q}", g.dev):  0,
		`disk_present{device="/dev/nvme9n1"}`:         0,
		fmt.Sprintf(`disk_size_bytes{device=%q,model=%q,serial=""}`, g.dev, disk.Host.Inventory([]string{g.dev})[0].Model): 16 * mib,
	} {
		if got, ok := after["netboot_imager_"+name]; !ok || got != want {
			t.Errorf("%s = %v, %v, want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{`phase_seconds_total{phase="write"}`, `phase_seconds_total{phase="verify"}`, "last_success_timestamp_seconds", "memory_available_bytes", "memory_total_bytes", "uptime_seconds", "process_memory_bytes"} {
		if after["netboot_imager_"+name] <= 0 {
			t.Errorf("%s = %v, want more than 0", name, after["netboot_imager_"+name])
		}
	}
}
