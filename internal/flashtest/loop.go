package flashtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Loop makes a loop device of size bytes that is full of old data, and removes it when
// the test ends. The test needs root.
func Loop(t testing.TB, size int64, losetup ...string) string {
	t.Helper()
	NeedRoot(t)
	file := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Old data at the start, and where a backup GPT would be.
	old := []byte(strings.Repeat("old data ", 8192))
	for _, off := range []int64{0, 1 << 20, size - int64(len(old))} {
		if _, err := f.WriteAt(old, off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return Attach(t, file, losetup...)
}

// Attach makes a loop device over file and removes it when the test ends.
func Attach(t testing.TB, file string, losetup ...string) string {
	t.Helper()
	NeedRoot(t)
	dev := strings.TrimSpace(Run(t, "losetup", append(losetup, "--find", "--show", file)...))
	t.Cleanup(func() { Run(t, "losetup", "--detach", dev) })
	return dev
}
