package flash

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/source"
)

// BenchmarkJob writes the image in the file FLASH_BENCH to a loop device, over HTTP, for
// profiles (-cpuprofile). What counts is in docs/performance.md; `make bench` measures it.
func BenchmarkJob(b *testing.B) {
	file := os.Getenv("FLASH_BENCH")
	if file == "" {
		b.Skip("FLASH_BENCH names no image; make bench makes some in build/bench")
	}
	for _, verify := range []bool{false, true} {
		b.Run(map[bool]string{false: "unverified", true: "verified"}[verify], func(b *testing.B) {
			flashtest.NeedRoot(b)
			back, err := os.CreateTemp("/dev/shm", "flash-bench-*.img")
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { os.Remove(back.Name()) })
			if err := back.Truncate(2112 << 20); err != nil {
				b.Fatal(err)
			}
			back.Close()
			dev := flashtest.Attach(b, back.Name())
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }))
			b.Cleanup(srv.Close)
			client := source.NewClient(source.Config{
				Hosts: source.Hosts{Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
				Stall: time.Minute, ReadAhead: 16 * mib,
			})
			u, err := source.ParseURL(srv.URL)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				d, err := disk.Host.Open(dev, []string{dev})
				if err != nil {
					b.Fatal(err)
				}
				img, err := client.Open(b.Context(), u, func(s string) { b.Log(s) })
				if err != nil {
					b.Fatal(err)
				}
				p, err := Prepare(b.Context(), d, img, img.Info, Options{NoVerify: !verify, Stall: time.Minute})
				if err != nil {
					b.Fatal(err)
				}
				r, err := p.Run(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(r.ImageSize)
				img.Close()
				d.Close()
			}
		})
	}
}
