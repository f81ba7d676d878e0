package trees

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

func openLibrary(t *testing.T, dir string) *Library {
	t.Helper()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// plant makes tree number n, as Add leaves it.
func plant(t *testing.T, l *Library, n int) string {
	t.Helper()
	id := fmt.Sprintf("%04d-20260102T03040%dZ", n, n)
	text := []byte(id)
	sum := sha256.Sum256(text)
	m := netboot.Manifest{Layout: netboot.PerSerial, Boot: "common", Build: fmt.Sprintf("2026-01-02T03:04:0%dZ", n)}
	for _, path := range []string{"bootcode.bin", "common/config.txt"} {
		m.Files = append(m.Files, netboot.ManifestFile{Path: path, Bytes: int64(len(text)), SHA256: hex.EncodeToString(sum[:])})
		file := filepath.Join(l.treeDir(id), path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.treeDir(id), "manifest.json"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	return id
}

// served is what a boot loader gets.
func served(l *Library, name string) string {
	b, err := os.ReadFile(filepath.Join(l.Root(), name))
	if err != nil {
		return ""
	}
	return string(b)
}

func switchTo(t *testing.T, l *Library, id string) {
	t.Helper()
	if _, err := l.Switch(id); err != nil {
		t.Fatal(err)
	}
}

func rollback(t *testing.T, l *Library, want string) {
	t.Helper()
	got, err := l.Rollback()
	if err != nil || got.ID != want || !got.Current {
		t.Errorf("Rollback = %+v, %v, want %s", got, err, want)
	}
}

func TestSwitch(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	if _, ok := l.Current(); ok {
		t.Error("an empty library serves something")
	}
	if err := l.Enrol("100000001234ABCD"); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for n := 1; n <= 5; n++ {
		id := plant(t, l, n)
		ids = append(ids, id)
		switchTo(t, l, id)
		if got := served(l, "1234abcd/config.txt"); got != id {
			t.Errorf("the station gets %q, want %q", got, id)
		}
		if got := served(l, "bootcode.bin"); got != id {
			t.Errorf("bootcode.bin is of %q, want %q", got, id)
		}
	}
	list, err := l.List()
	if err != nil || len(list) != Keep || list[0].ID != ids[4] || !list[0].Current || list[1].Current {
		t.Errorf("List = %+v, %v, want the last %d", list, err, Keep)
	}
	// Boot files are never at the root.
	entries, err := os.ReadDir(l.Root())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "1234abcd bootcode.bin current trees" {
		t.Errorf("the TFTP root holds %s", got)
	}
}

// TestRollback goes back, takes a new tree, and goes back to the one before that, which is
// not the one that was rolled back from.
func TestRollback(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	one := plant(t, l, 1)
	switchTo(t, l, one)
	var none *NoTreeError
	if _, err := l.Rollback(); !errors.As(err, &none) || l.current() != one {
		t.Errorf("Rollback without a past: %v", err)
	}
	bad := plant(t, l, 2)
	switchTo(t, l, bad)
	l = openLibrary(t, dir) // a restart
	rollback(t, l, one)
	three := plant(t, l, 3)
	switchTo(t, l, three)
	rollback(t, l, one)
}

// TestPowerCut has the link renamed and the past not noted.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	one, two := plant(t, l, 1), plant(t, l, 2)
	switchTo(t, l, one)
	if err := l.link(currentName, filepath.Join(treesName, two)); err != nil {
		t.Fatal(err)
	}
	rollback(t, openLibrary(t, dir), one)
	// And in the middle of building a tree.
	tmp := filepath.Join(l.Root(), treesName, ".netboot-1")
	if err := os.MkdirAll(filepath.Join(tmp, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	openLibrary(t, dir)
	if _, err := os.Stat(tmp); err == nil {
		t.Error("half a tree was left")
	}
}

func TestDamaged(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	one, two := plant(t, l, 1), plant(t, l, 2)
	switchTo(t, l, one)
	if err := os.WriteFile(filepath.Join(l.treeDir(two), "common/config.txt"), []byte("torn"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{two, "../..", "0009-20260102T030409Z", ""} {
		if _, err := l.Switch(id); err == nil || l.current() != one {
			t.Errorf("Switch(%q) = %v, and %s is served, want %s", id, err, l.current(), one)
		}
	}
	// One manifest that cannot be read does not hide the other trees.
	if err := os.Truncate(filepath.Join(l.treeDir(two), "manifest.json"), 10); err != nil {
		t.Fatal(err)
	}
	list, err := l.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("List = %+v, %v, want both trees", list, err)
	}
	if list[0].ID != two || list[0].Problem == "" || list[1].ID != one || list[1].Problem != "" || !list[1].Current {
		t.Errorf("List = %+v, want %s with its problem and %s as it is", list, two, one)
	}
}

func TestStations(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	one, two := plant(t, l, 1), plant(t, l, 2)
	switchTo(t, l, one)
	for _, serial := range []string{"1111aaaa", "2222bbbb"} {
		if err := l.Enrol(serial); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Test("1111aaaa", two); err != nil {
		t.Fatal(err)
	}
	if a, b := served(l, "1111aaaa/config.txt"), served(l, "2222bbbb/config.txt"); a != two || b != one {
		t.Errorf("in a test %q and %q are served, want %q and %q", a, b, two, one)
	}
	for n := 3; n <= 5; n++ {
		switchTo(t, l, plant(t, l, n))
	}
	if served(l, "1111aaaa/config.txt") != two {
		t.Error("the tree under test was removed")
	}
	if err := l.Enrol("1111aaaa"); err != nil || served(l, "1111aaaa/config.txt") != l.current() {
		t.Errorf("after the test: %v, %q", err, served(l, "1111aaaa/config.txt"))
	}
	if err := l.Retire("1111AAAA"); err != nil || served(l, "1111aaaa/config.txt") != "" {
		t.Errorf("a retired station is served: %v", err)
	}
	if err := l.Retire("1111aaaa"); err != nil {
		t.Errorf("retired twice: %v", err)
	}
	for _, serial := range []string{"", "..", "current", "trees", "1111aaaa/../.."} {
		if l.Enrol(serial) == nil || l.Retire(serial) == nil || l.Test(serial, one) == nil {
			t.Errorf("%q was taken for a serial number", serial)
		}
	}
	if got, err := l.Enrolled(); err != nil || len(got) != 1 || got[0] != "2222bbbb" {
		t.Errorf("Enrolled = %q, %v", got, err)
	}
}
