package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// realImage makes an image as distributions do: a partition table by sfdisk, a FAT and
// an ext4 file system populated from real files (Go's own sources), 256 MiB.
func realImage(t *testing.T, dir string) (image string, tree string) {
	t.Helper()
	tree = filepath.Join(dir, "tree")
	if err := os.CopyFS(tree, os.DirFS(filepath.Join(strings.TrimSpace(flashtest.Run(t, "go", "env", "GOROOT")), "src"))); err != nil {
		t.Fatal(err)
	}
	image = filepath.Join(dir, "disk.img")
	fat, ext := filepath.Join(dir, "fat.img"), filepath.Join(dir, "ext4.img")
	for file, size := range map[string]int64{image: 256 * mib, fat: 32 * mib, ext: 220 * mib} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
	}
	flashtest.Pipe(t, []byte("label: dos\nlabel-id: 0x1badf00d\nstart=8192, size=65536, type=c, bootable\nstart=73728, type=83\n"), "sfdisk", "-q", image)
	flashtest.Run(t, "mkfs.fat", "-F", "16", "-n", "BOOT", fat)
	flashtest.Run(t, "mcopy", "-i", fat, binary, "::imager")
	flashtest.Run(t, "mkfs.ext4", "-q", "-L", "root", "-d", tree, ext)
	for part, at := range map[string]int{fat: 4, ext: 36} {
		flashtest.Run(t, "dd", "if="+part, "of="+image, "bs=1M", fmt.Sprintf("seek=%d", at), "conv=notrunc,sparse", "status=none")
	}
	return image, tree
}

// TestRealImage writes a real image, compressed by every real tool, through the whole
// HTTP path to a real block device, and has fsck and the kernel judge what arrived.
func TestRealImage(t *testing.T) {
	flashtest.NeedRoot(t)
	dir := t.TempDir()
	image, tree := realImage(t, dir)
	srv := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer srv.Close()
	dev := flashtest.Loop(t, 300*mib, "--partscan")
	base, stop := startImager(t, dir, dev)
	defer stop()

	for _, c := range []struct{ name, command string }{
		{"raw", "cat"}, {"gzip", "gzip -1"}, {"pigz", "pigz -6"}, {"bgzip", "bgzip -c"},
		{"xz", "xz -T2 -1"}, {"zstd", "zstd -q"}, {"bzip2", "bzip2 -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The name has no extension, as on the netboot server.
			flashtest.Run(t, "sh", "-c", fmt.Sprintf("%s < %s > %s", c.command, image, filepath.Join(dir, "download")))
			begin := time.Now()
			answer := post(t, base, fmt.Sprintf(`{"device": %q, "image_url": "%s/download"}`, dev, srv.URL))
			t.Logf("%v: %s", time.Since(begin).Round(time.Millisecond), answer.Output)
			if !answer.Success || answer.Receipt.Format != flashtest.FormatOf(c.name) || answer.Receipt.ImageSize != 256*mib || len(answer.Receipt.Partitions) != 2 {
				t.Errorf("answer = %+v", answer)
			}
			flashtest.Run(t, "cmp", "-n", fmt.Sprint(256*mib), image, dev)
			judge(t, dev, tree)
			// Let the next format begin with another disk than it wants.
			flashtest.Run(t, "dd", "if=/dev/urandom", "of="+dev, "bs=1M", "count=8", "seek=40", "status=none", "conv=fsync")
		})
	}
}

// judge runs fsck on the partitions that arrived, and mounts the ext4 and compares its
// files with tree.
func judge(t *testing.T, dev, tree string) {
	t.Helper()
	fat := flashtest.Attach(t, dev, "--offset", fmt.Sprint(4*mib), "--sizelimit", fmt.Sprint(32*mib), "--read-only")
	ext := flashtest.Attach(t, dev, "--offset", fmt.Sprint(36*mib), "--sizelimit", fmt.Sprint(220*mib), "--read-only")
	flashtest.Run(t, "fsck.fat", "-n", fat)
	flashtest.Run(t, "e2fsck", "-f", "-n", ext)
	point := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(point, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(ext, point, "ext4", unix.MS_RDONLY, "noload"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(point, 0)
	flashtest.Run(t, "diff", "-r", "-x", "lost+found", tree, point)
}

// answer is the JSON of POST /write-image.
type answer struct {
	Success bool
	Message string
	Output  string
	Error   string
	Receipt struct {
		Format     string
		ImageSize  int64 `json:"image_size"`
		Partitions []any
	}
}

func post(t *testing.T, base, body string) answer {
	t.Helper()
	req, err := http.NewRequest("POST", base+"/write-image", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Netboot-Token", "fake-token")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(b, &a); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %s (%v)", resp.Status, b, err)
	}
	return a
}

// startImager starts the real program for one disk and returns its URL.
func startImager(t *testing.T, dir, dev string) (base string, stop func()) {
	t.Helper()
	port := freePort(t)
	cfg := filepath.Join(dir, "config.json")
	text := fmt.Sprintf(`{"allowed_ips": ["127.0.0.1"], "shared_secret": "fake-token", "allowed_devices": [%q], "port": %d}`, dev, port)
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-config", cfg)
	cmd.Env = []string{"RUNTIME_DIRECTORY=" + dir}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	base = fmt.Sprintf("http://127.0.0.1:%d", port)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(base + "/health"); err == nil {
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("the imager does not answer; its log:\n%s", log.String())
		}
	}
	return base, func() {
		// Not from Rusage: that begins with this process's own size at the fork.
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		if err != nil {
			t.Error(err)
		}
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("the imager's log:\n%s", log.String())
		}
		// Bounded memory is a promise: 192 MiB whatever the image's size.
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		var peak int
		if _, err := fmt.Sscan(rest, &peak); err != nil {
			t.Errorf("no VmHWM in %s", status)
		}
		t.Logf("peak RSS %d MiB", peak>>10)
		if peak>>10 > 192 {
			t.Errorf("peak RSS %d MiB, want at most 192", peak>>10)
		}
	}
}
