package emupi

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSetSerial has dtc judge.
func TestSetSerialNumber(t *testing.T) {
	if _, err := exec.LookPath("dtc"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dtc is missing: run tools/install-deps.sh test")
		}
		t.Skip("dtc is missing")
	}
	dir := t.TempDir()
	src := filepath.Join(dir, "a.dts")
	if err := os.WriteFile(src, []byte("/dts-v1/;\n/memreserve/ 0x1000 0x2000;\n/ { model = \"m\"; chosen { a = <1>; }; };\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	blob, err := exec.Command("dtc", "-q", "-I", "dts", "-O", "dtb", src).Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := setSerial(blob, "100000001234abcd")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dtc", "-q", "-I", "dtb", "-O", "dts")
	cmd.Stdin = strings.NewReader(string(got))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`serial-number = "100000001234abcd";`, `model = "m";`, "a = <0x01>;", "/memreserve/"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s is missing:\n%s", want, out)
		}
	}
	for n := range blob {
		_, _ = setSerial(blob[:n], "x") // without a panic
	}
}
