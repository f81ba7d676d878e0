package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// update is a running `gok update`.
type update struct {
	cmd *exec.Cmd
	out *bytes.Buffer
}

// gokInstance copies the station's instance, as its README says, and adds where to send
// updates. It returns the parent directory.
func gokInstance(t *testing.T, change map[string]any) string {
	t.Helper()
	parent := t.TempDir()
	dir := filepath.Join(parent, "netboot-imager")
	if err := os.CopyFS(dir, os.DirFS("../../gokrazy-instance")); err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(readFile(t, filepath.Join(dir, "config.json")), &c); err != nil {
		t.Fatal(err)
	}
	for k, v := range change {
		c[k] = v
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	mod := filepath.Join(dir, "builddir", "go.mod")
	text := bytes.Replace(readFile(t, mod), []byte("=> ../..\n"), []byte("=> "+root+"\n"), 1)
	for path, b := range map[string][]byte{filepath.Join(dir, "config.json"): b, mod: text} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return parent
}

// gokUpdate is gok, unmodified, for an instance below parent.
func gokUpdate(parent string, args ...string) *update {
	u := &update{out: &bytes.Buffer{}}
	u.cmd = exec.Command("go", append([]string{"tool", "gok", "-i", "netboot-imager", "--parent_dir", parent, "update"}, args...)...)
	u.cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(parent, "config"))
	u.cmd.Stdout, u.cmd.Stderr = u.out, u.out
	return u
}
