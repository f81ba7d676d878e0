package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// needTools skips the test without a program, but fails it in CI.
func needTools(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: run tools/install-deps.sh test", p)
		}
		t.Skipf("%s is missing: run tools/install-deps.sh test", p)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// images takes boot and root image out of the station's archive, and returns mknetboot's
// options for them.
func images(t *testing.T) []string {
	t.Helper()
	gaf, err := shared.gaf()
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(gaf)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dir := t.TempDir()
	if err := os.CopyFS(dir, z); err != nil {
		t.Fatal(err)
	}
	return []string{"-boot", filepath.Join(dir, "boot.img"), "-root", filepath.Join(dir, "root.img")}
}

// TestTree has other programs judge what Build makes.
func TestTree(t *testing.T) {
	t.Parallel()
	needTools(t, "fsck.fat", "mcopy", "sfdisk", "cpio", "dtc")
	dir, m := tree(t, netboot.Options{Stations: []string{"100000001234ABCD"}, ConfigURL: configURL, KernelArgs: []string{"quiet"}})
	common := filepath.Join(dir, "common")

	t.Run("reproducible", func(t *testing.T) {
		_, again := treeOf(t, images(t), netboot.Options{Stations: []string{"100000001234ABCD"}, ConfigURL: configURL, KernelArgs: []string{"quiet"}})
		if len(again.Files) != len(m.Files) {
			t.Fatalf("%d files, then %d", len(m.Files), len(again.Files))
		}
		for i := range m.Files {
			if m.Files[i] != again.Files[i] {
				t.Errorf("%+v, then %+v", m.Files[i], again.Files[i])
			}
		}
	})
	t.Run("manifest", func(t *testing.T) {
		got, err := netboot.ReadManifest(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Verify(dir); err != nil {
			t.Error(err)
		}
	})
	t.Run("boot.img", func(t *testing.T) {
		run(t, "fsck.fat", "-n", filepath.Join(common, "boot.img"))
		for _, name := range []string{"vmlinuz.gz", "config.txt", "overlays/bcm2712d0.dtbo", "bcm2712-rpi-cm5l-cm4io.dtb"} {
			out := filepath.Join(t.TempDir(), "out")
			run(t, "mcopy", "-n", "-i", filepath.Join(common, "boot.img"), "::"+name, out)
			want, got := readFile(t, filepath.Join(common, name)), readFile(t, out)
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs in boot.img", name)
			}
		}
	})
	t.Run("sdcard.img", func(t *testing.T) {
		card := readFile(t, filepath.Join(dir, "sdcard.img"))
		if len(card)&(len(card)-1) != 0 || len(card) > 128<<20 {
			t.Errorf("%d bytes, want a power of two up to 128 MiB", len(card))
		}
		dump := run(t, "sfdisk", "-d", filepath.Join(dir, "sdcard.img"))
		if !strings.Contains(dump, "start=        8192") || !strings.Contains(dump, "type=e") {
			t.Errorf("partition table:\n%s", dump)
		}
		if boot := readFile(t, filepath.Join(common, "boot.img")); !bytes.Equal(card[4<<20:4<<20+len(boot)], boot) {
			t.Error("the partition is not boot.img")
		}
	})
	t.Run("initramfs", func(t *testing.T) {
		b := readFile(t, filepath.Join(common, "initramfs.cpio.zst"))
		if len(b)%4 != 0 {
			t.Errorf("%d bytes, want a multiple of 4", len(b))
		}
		cmd := exec.Command("cpio", "-itv", "--quiet")
		zr, err := zstd.NewReader(bytes.NewReader(b[:frameEnd(t, b)]))
		if err != nil {
			t.Fatal(err)
		}
		defer zr.Close()
		cmd.Stdin = zr
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{"init -> /gokrazy/init", "user/imager", "etc/ssl/ca-bundle.pem", "etc/resolv.conf -> /tmp/resolv.conf"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s is missing:\n%s", want, out)
			}
		}
		if strings.Contains(string(out), "gokr-pw.txt") {
			t.Error("gokrazy's password is in the initramfs")
		}
	})
	t.Run("dtb", func(t *testing.T) {
		dtbs, err := filepath.Glob(filepath.Join(common, "*.dtb"))
		if err != nil || len(dtbs) != 14 {
			t.Errorf("%d device trees, %v, want 14", len(dtbs), err)
		}
		for _, dtb := range dtbs {
			run(t, "dtc", "-q", "-I", "dtb", "-O", "dtb", "-o", "/dev/null", dtb)
		}
	})
	t.Run("text", func(t *testing.T) {
		if got, want := string(readFile(t, filepath.Join(common, "cmdline.txt"))), "console=tty1 console=serial0,115200 root=/dev/loop0p2 panic=10 oops=panic imager.config_url="+configURL+" quiet\n"; got != want {
			t.Errorf("cmdline.txt = %q, want %q", got, want)
		}
		if n := len(readFile(t, filepath.Join(common, "config.txt"))); n >= 4096 {
			t.Errorf("config.txt has %d bytes, want fewer than 4096", n)
		}
		if target, err := os.Readlink(filepath.Join(dir, "1234abcd")); err != nil || target != "common" {
			t.Errorf("1234abcd -> %s, %v, want common", target, err)
		}
	})
}

// TestSecret looks for gokrazy's password and the imager's token in every byte of a
// tree, unpacked.
func TestSecret(t *testing.T) {
	t.Parallel()
	gaf, err := shared.hello() // it holds a configuration with a token
	if err != nil {
		t.Fatal(err)
	}
	password := bytes.TrimSpace(readFile(t, filepath.Join(shared.dir, "config", "gokrazy", "http-password.txt")))
	if len(password) == 0 {
		t.Fatal("gok made no password: this test would find nothing")
	}
	for _, keep := range []bool{false, true} {
		dir, m := treeOf(t, []string{"-gaf", gaf}, netboot.Options{Layout: netboot.Flat, KeepImagerConfig: keep})
		zr, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		b := readFile(t, filepath.Join(dir, "initramfs.cpio.zst"))
		archive, err := zr.DecodeAll(b[:frameEnd(t, b)], nil)
		zr.Close()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(archive, password) {
			t.Error("gokrazy's password is in the initramfs")
		}
		if got := bytes.Contains(archive, []byte(token)); got != keep {
			t.Errorf("KeepImagerConfig %v: the token is in the initramfs: %v", keep, got)
		}
		for _, f := range m.Files {
			if b := readFile(t, filepath.Join(dir, f.Path)); bytes.Contains(b, password) || bytes.Contains(b, []byte(token)) {
				t.Errorf("%s holds gokrazy's password or the imager's token", f.Path)
			}
		}
	}
}

// frameEnd is where the zeros behind the zstd frame begin: a frame with a checksum does
// not end in four zeros but by chance, and then by fewer than are cut here.
func frameEnd(t *testing.T, b []byte) int {
	t.Helper()
	if binary.LittleEndian.Uint32(b) != 0xfd2fb528 {
		t.Fatal("no zstd frame")
	}
	for cut := range 4 {
		if end := len(b) - cut; cut == 0 || b[end] == 0 {
			zr, err := zstd.NewReader(nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = zr.DecodeAll(b[:end], nil)
			zr.Close()
			if err == nil {
				return end
			}
		}
	}
	t.Fatal("no end of the zstd frame within the last four bytes")
	return 0
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
