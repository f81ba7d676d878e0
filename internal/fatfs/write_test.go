package fatfs

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWrite has fsck.fat judge a file system and this package read it back.
func TestWrite(t *testing.T) {
	if _, err := exec.LookPath("fsck.fat"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("fsck.fat is missing: run tools/install-deps.sh test")
		}
		t.Skip("fsck.fat is missing: run tools/install-deps.sh test")
	}
	want := files(t)
	for n := range 60 { // short names up to ~60
		want[strings.Repeat("overlay-", 3)+string(rune('a'+n%26))+strings.Repeat("x", n/26)+".dtb"] = []byte{byte(n)}
	}
	want["big"] = make([]byte, 20<<20)
	var list []File
	for name, data := range want {
		list = append(list, File{Name: name, Data: data})
	}
	image := filepath.Join(t.TempDir(), "fat.img")
	for _, size := range []int64{Size(list), 64 << 20, 128 << 20} {
		f, err := os.Create(image)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if err := Write(f, size, "TEST", list); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		run(t, "fsck.fat", "-n", image)
		check(t, image, want)
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, tt := range []struct {
		what  string
		size  int64
		files []File
		says  string
	}{
		{"too small", 1 << 20, nil, "must have"},
		{"too large", 256 << 20, nil, "must have"},
		{"no room", 16 << 20, []File{{Name: "big", Data: make([]byte, 17<<20)}}, "no room"},
		{"twice", 16 << 20, []File{{Name: "a.txt"}, {Name: "A.TXT"}}, "twice"},
		{"too deep", 16 << 20, []File{{Name: "a/b/c"}}, "one level"},
	} {
		err := Write(discard{}, tt.size, "TEST", tt.files)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want it to say %q", tt.what, err, tt.says)
		}
	}
}

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// TestWriteSame writes the same files twice.
func TestWriteSame(t *testing.T) {
	list := []File{{Name: "d/x", Data: []byte("x")}, {Name: "y", Data: []byte("y")}}
	var images [2][]byte
	for i := range images {
		path := filepath.Join(t.TempDir(), "fat.img")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(16 << 20); err != nil {
			t.Fatal(err)
		}
		if err := Write(f, 16<<20, "TEST", list); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if images[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the same files gave different file systems")
	}
}
