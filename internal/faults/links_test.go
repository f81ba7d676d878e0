package faults

import (
	"bytes"
	le "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// TestLinks: the way between the image server and the disk.
func TestLinks(t *testing.T) {
	matrix(t, network, linkRows)
}

var linkRows = []row{
	{
		fault: "a link that loses 5 % of all packets (by nftables)", place: lossy(5),
		status: 200, after: whole,
	}, {
		fault: "a link that loses 20 % of all packets", place: lossy(20), format: "gzip",
		status: 200, after: whole,
	}, {
		fault: "a link with 200 ms of latency (toxiproxy)", url: through(`{"type": "latency", "attributes": {"latency": 200, "jitter": 50}}`),
		status: 200, after: whole,
	}, {
		fault: "a link with 500 kB/s", format: "gzip", url: through(`{"type": "bandwidth", "attributes": {"rate": 500}}`),
		status: 200, after: whole,
	}, {
		fault: "a link that delivers a few hundred bytes at a time, and in between waits", format: "gzip", url: through(`{"type": "slicer", "attributes": {"average_size": 20000, "size_variation": 10000, "delay": 2000}}`),
		status: 200, after: whole,
	}, {
		fault: "a proxy that ends each connection after 1,000,000 bytes", url: through(`{"type": "limit_data", "attributes": {"bytes": 1000000}}`),
		status: 200, after: whole, check: retried(5),
	}, {
		fault: "a proxy that resets each connection after 0.2 s, before a byte came", config: short, url: through(`{"type": "reset_peer", "attributes": {"timeout": 200}}`),
		status: 502, says: "cannot be reached", after: unchanged,
	}, {
		fault: "a proxy that accepts and says nothing", config: short, url: through(`{"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`),
		status: 504, says: "stalled", after: unchanged,
	}, {
		fault: "a proxy in front of a server that is not there", config: short, url: func(t testing.TB, s *flashtest.Server) string {
			url := through()(t, s)
			s.Stop()
			return url
		},
		status: 502, after: unchanged,
	}, {
		fault: "a large image (1 GiB in the full run), every connection broken after a sixteenth of it", image: largeImage, disk: largeDisk,
		serve:  func(t testing.TB, s *flashtest.Server) { s.DropAfter = int64(len(s.Data) / 16) },
		status: 200, after: whole, check: retried(15),
	}, {
		fault: "the same, gzip, resets", image: largeImage, disk: largeDisk, format: "gzip",
		serve:  func(t testing.TB, s *flashtest.Server) { s.DropAfter, s.Reset = int64(len(s.Data)/16), true },
		status: 200, after: whole, check: retried(15),
	}, {
		fault: "a host name that resolves to an allowed address", place: named, url: byName("good.test"),
		status: 200, after: whole,
	}, {
		fault: "a host name that resolves to an address that is not allowed", place: named, url: byName("evil.test"),
		status: 403, says: "evil.test (" + evilIP + ")", after: unchanged,
	}, {
		fault: "a host name that resolves to an address that is not allowed, after a redirect", place: named, serve: func(t testing.TB, s *flashtest.Server) {
			s.Handler = func(w http.ResponseWriter, r *http.Request) {
				_, port, _ := net.SplitHostPort(s.Addr())
				http.Redirect(w, r, "http://evil.test:"+port+"/", http.StatusFound)
			}
		},
		status: 403, says: "evil.test (" + evilIP + ")", after: unchanged,
	}, {
		fault: "a host name that does not exist", place: named, url: byName("nowhere.test"),
		status: 502, says: "no such host", after: unchanged,
	},
}

func byName(name string) func(testing.TB, *flashtest.Server) string {
	return func(_ testing.TB, s *flashtest.Server) string {
		_, port, _ := net.SplitHostPort(s.Addr())
		return "http://" + name + ":" + port + "/image"
	}
}

// toxiproxy is the proxy's server program, in a module of its own.
var toxiproxy = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(scratch, "toxiproxy-server")
	cmd := exec.Command("go", "build", "-C", "testdata/toxiproxy", "-o", bin, "github.com/Shopify/toxiproxy/v2/cmd/server")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%q: %w\n%s", cmd.Args, err, out)
	}
	return bin, nil
})

// through leads to the image server through toxiproxy with toxics (JSON objects).
func through(toxics ...string) func(testing.TB, *flashtest.Server) string {
	return func(t testing.TB, s *flashtest.Server) string {
		t.Helper()
		bin, err := toxiproxy()
		if err != nil {
			t.Fatal(err)
		}
		port := fmt.Sprint(freePort(t))
		cmd := exec.Command(bin, "-host", "127.0.0.1", "-port", port)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		api := "http://127.0.0.1:" + port
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			resp, err := client.Get(api + "/version")
			if err == nil {
				resp.Body.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("toxiproxy does not start: %v", err)
			}
		}
		listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		proxy, _ := json.Marshal(map[string]any{"name": "images", "listen": listen, "upstream": s.Addr(), "enabled": true})
		toxi(t, api+"/proxies", string(proxy))
		for _, toxic := range toxics {
			toxi(t, api+"/proxies/images/toxics", toxic)
		}
		return "http://" + listen + "/image"
	}
}

func toxi(t testing.TB, url, body string) {
	t.Helper()
	resp, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode/100 != 2 {
		t.Fatalf("toxiproxy: POST %s %s: %s %s", url, body, resp.Status, b)
	}
}

// largeImage is 1 GiB in a full run. Each sector is another one.
var largeImage = func() func(testing.TB) []byte {
	make := sync.OnceValue(func() []byte {
		size := sometimes(96, 1024) * mib
		img := bytes.Repeat(sampleImage()[:8*mib], size/(8*mib))
		for at := mib; at < size; at += 512 {
			le.LittleEndian.PutUint64(img[at:], uint64(at))
		}
		flashtest.MBR(img, 2048, uint32(size/512-2048))
		return img
	})
	return func(testing.TB) []byte { return make() }
}()

// largeDisk has room for largeImage, and an old system in its first MiB.
func largeDisk(t testing.TB) *target {
	size := int64(sometimes(100, 1028)) * mib
	old := make([]byte, size)
	copy(old, oldSystem(diskSize)[:2*mib])
	file := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(file, old[:2*mib], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	return &target{dev: flashtest.Attach(t, file, "--partscan"), old: old}
}
