package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/operator"
)

// TestFlashForty types the rehearsal of docs/flash-forty.md: three real imagers with disks on
// loop devices, flashed at once.
func TestFlashForty(t *testing.T) {
	flashtest.NeedRoot(t)
	flashtest.Need(t, "losetup")
	_, rest, ok := strings.Cut(forty(t), "<!-- The commands of the next block run in CI: tools/flash/docs_test.go. -->\n```sh\n")
	script, _, ok2 := strings.Cut(rest, "```")
	const build = "make build flash\n"
	if !ok || !ok2 || !strings.HasPrefix(script, build) {
		t.Fatal("docs/flash-forty.md has no block of commands to try, or it does not begin with " + build)
	}
	// What make builds is there already.
	dir := t.TempDir()
	if err := os.Symlink(programs, filepath.Join(dir, "build")); err != nil {
		t.Fatal(err)
	}
	rack := filepath.Join(programs, "rack")
	defer os.RemoveAll(rack)
	script = strings.TrimPrefix(script, build)
	script = strings.ReplaceAll(script, "127.0.0.1:888", "127.0.0.1:"+freePorts(t))
	// Less than the page has: the test's machine is busy.
	script = strings.NewReplacer("192M", "24M", "96M", "8M", "256M", "32M").Replace(script)
	defer func() {
		for n := 1; n <= 3; n++ { // what a script that failed has left
			out, _ := exec.Command(flashtest.Need(t, "losetup"), "-nO", "NAME", "-j", filepath.Join(rack, fmt.Sprintf("disk%d.img", n))).Output()
			for loop := range strings.FieldsSeq(string(out)) {
				flashtest.Run(t, "losetup", "--detach", loop)
			}
		}
	}()

	cmd := exec.CommandContext(t.Context(), "bash", "-e", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it leaves in the background ends with the test
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Minute
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	text := out.String()
	if n := strings.Count(text, "\nGOOD  127.0.0.1:"); n != 3 || !strings.Contains(text, "\nAll of 3 stations: good.\n") || strings.Count(text, "loop device") < 3 {
		t.Errorf("the page's commands print:\n%s", text)
	}
	image, err := os.ReadFile(filepath.Join(rack, "os.img"))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 3; n++ {
		disk, err := os.ReadFile(filepath.Join(rack, fmt.Sprintf("disk%d.img", n)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(disk[:len(image)], image) {
			t.Errorf("disk %d does not hold the image", n)
		}
	}
}

// TestDocs has flash know every command and flag that the pages show.
func TestDocs(t *testing.T) {
	shown := 0
	for line := range strings.Lines(forty(t)) {
		_, args, ok := strings.Cut(line, "build/flash ")
		if !ok || strings.Contains(line, "`build/flash`") {
			continue
		}
		args, _, _ = strings.Cut(args, "|")
		cmd, rest, err := operator.Command(operator.Environment{}).Find(strings.Fields(args))
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err == nil {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil {
			t.Errorf("docs/flash-forty.md shows %q: %v", strings.TrimSpace(line), err)
		}
		shown++
	}
	if shown < 4 {
		t.Errorf("docs/flash-forty.md shows only %d commands", shown)
	}
}

func forty(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/flash-forty.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// freePorts returns all but the last digit of ports of which those ending in 1 to 3 are free.
func freePorts(t *testing.T) string {
	t.Helper()
	for prefix := 2000; prefix < 3000; prefix++ {
		free := true
		for n := 1; n <= 3; n++ {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d%d", prefix, n))
			if err != nil {
				free = false
				break
			}
			ln.Close()
		}
		if free {
			return fmt.Sprint(prefix)
		}
	}
	t.Fatal("no free ports")
	return ""
}
