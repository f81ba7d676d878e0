package e2e

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// TestReadme makes the trees that README.md and docs/netboot.md show, with their options.
// What `make netboot` does before is the gokrazy build that all tests here use.
func TestReadme(t *testing.T) {
	t.Parallel()
	gaf, err := shared.gaf()
	if err != nil {
		t.Fatal(err)
	}
	mknetboot, err := shared.mk()
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^ *make netboot MKNETBOOT='([^']*)'`)
	for _, page := range []string{"README.md", "docs/netboot.md"} {
		shown := command.FindAllSubmatch(readFile(t, filepath.Join("../..", page)), -1)
		if len(shown) == 0 {
			t.Errorf("%s shows no make netboot with options", page)
		}
		for _, m := range shown {
			dir := filepath.Join(t.TempDir(), "tree")
			run(t, mknetboot, append(strings.Fields(string(m[1])), "-gaf", gaf, "-out", dir)...)
			tree, err := netboot.ReadManifest(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.Verify(dir); err != nil {
				t.Errorf("%s: make netboot MKNETBOOT='%s': %v", page, m[1], err)
			}
		}
	}
}

// TestDemo runs `make demo DEMO='-model virt-nvme'`'s program as one who is not root
// would see it, in QEMU's user network, until the system that it wrote is up.
func TestDemo(t *testing.T) {
	t.Parallel()
	needTools(t, "qemu-system-aarch64")
	gaf, err := shared.gaf()
	if err != nil {
		t.Fatal(err)
	}
	emupi := filepath.Join(t.TempDir(), "emupi")
	run(t, "go", "build", "-o", emupi, "../../tools/emupi")
	cmd := exec.CommandContext(t.Context(), emupi, "demo", "-gaf", gaf, "-dir", filepath.Join(t.TempDir(), "demo"), "-model", "virt-nvme", "-user", "-once")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := bytes.Cut(out, []byte("   at      took\n"))
	for _, want := range []string{"fetched", "booted", "downloaded and written", "read back", "rebooted", "the flashed system is up"} {
		if !bytes.Contains(table, []byte(want)) {
			t.Errorf("the time line lacks %q", want)
		}
	}
}
