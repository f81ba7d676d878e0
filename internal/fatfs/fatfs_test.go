package fatfs

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
)

// files is what the tests put into each file system: names that share their first
// eight characters, sizes around those of clusters, and a directory.
func files(t testing.TB) map[string][]byte {
	t.Helper()
	m := map[string][]byte{
		"config.txt":               []byte("[all]\nkernel=vmlinuz.gz\n"),
		"empty":                    {},
		"bcm2710-rpi-3-b.dtb":      make([]byte, 2048),
		"bcm2710-rpi-3-b-plus.dtb": make([]byte, 2049),
		"overlays/overlay_map.dtb": make([]byte, 511),
		"overlays/a-name-of-more-than-26-characters.dtbo": make([]byte, 70_000),
	}
	for _, b := range m {
		rand.Read(b)
	}
	m["config.txt"] = []byte("[all]\nkernel=vmlinuz.gz\n")
	return m
}

func check(t *testing.T, image string, want map[string][]byte) {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fsys, err := New(f)
	if err != nil {
		t.Fatal(err)
	}
	names, err := fsys.Names()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range want {
		if !slices.Contains(names, name) {
			t.Errorf("Names() = %q, lacks %q", names, name)
		}
		got, err := fsys.ReadFile(name)
		if err != nil {
			t.Errorf("ReadFile(%s): %v", name, err)
		} else if !bytes.Equal(got, data) {
			t.Errorf("ReadFile(%s) = %d bytes that differ from the %d written", name, len(got), len(data))
		}
	}
	if len(names) != len(want) {
		t.Errorf("Names() = %q, want the %d files written", names, len(want))
	}
	for _, name := range []string{"nothing", "overlays", "overlays/nothing", "config.txt/x", ""} {
		if _, err := fsys.ReadFile(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile(%q) = %v, want fs.ErrNotExist", name, err)
		}
	}
}

// TestMkfs reads what mkfs.fat and mcopy wrote, one file system of each type.
func TestMkfs(t *testing.T) {
	for _, tool := range []string{"mkfs.fat", "mcopy", "mmd"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing: run tools/install-deps.sh test", tool)
			}
			t.Skipf("%s is missing: run tools/install-deps.sh test", tool)
		}
	}
	for _, tt := range []struct {
		bits string
		mib  int64
		args []string
	}{
		{"12", 4, nil},
		{"16", 32, nil},
		{"16", 32, []string{"-s", "1", "-f", "1"}},
		{"32", 64, []string{"-s", "1"}},
	} {
		t.Run(fmt.Sprintf("FAT%s%v", tt.bits, tt.args), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			image := filepath.Join(dir, "fat.img")
			if err := os.WriteFile(image, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(image, tt.mib<<20); err != nil {
				t.Fatal(err)
			}
			run(t, "mkfs.fat", append(append([]string{"-F", tt.bits, "-n", "BOOT"}, tt.args...), image)...)
			run(t, "mmd", "-i", image, "::overlays")
			want := files(t)
			for name, data := range want {
				src := filepath.Join(dir, "src")
				if err := os.WriteFile(src, data, 0o600); err != nil {
					t.Fatal(err)
				}
				run(t, "mcopy", "-i", image, src, "::"+name)
			}
			check(t, image, want)
		})
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// FuzzNew proves that no boot partition, however damaged, makes the reader panic
// or run on.
func FuzzNew(f *testing.F) {
	image := filepath.Join(f.TempDir(), "small.img")
	st, err := file.CreateFromPath(image, 2<<20)
	if err != nil {
		f.Fatal(err)
	}
	fsys, err := fat12.Create(st, 2<<20, 0, 512, "BOOT", true)
	if err != nil {
		f.Fatal(err)
	}
	fw, err := fsys.OpenFile("a-long-file-name.dtbo", os.O_CREATE|os.O_RDWR)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := fw.Write(make([]byte, 5000)); err != nil {
		f.Fatal(err)
	}
	small, err := os.ReadFile(image)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.TrimRight(small, "\x00")) // short, so that the fuzzer is quick
	f.Fuzz(func(t *testing.T, b []byte) {
		fsys, err := New(bytes.NewReader(b))
		if err != nil {
			return
		}
		names, err := fsys.Names()
		if err != nil {
			return
		}
		for _, name := range names {
			_, _ = fsys.ReadFile(name)
		}
	})
}
