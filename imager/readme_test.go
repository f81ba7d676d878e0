package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// TestREADME types the commands of the README's "Try it" in a copy of the repository, and
// looks at what they print.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "<!-- The commands of the next block run in CI: imager/readme_test.go. -->\n```sh\n")
	script, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("README.md has no block of commands to try")
	}
	repo := t.TempDir()
	files := flashtest.Run(t, "git", "-C", "..", "ls-files")
	for _, f := range strings.Fields(files) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(repo, f)), 0o755); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join("..", f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(repo, f), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The ports of the README may be taken here.
	script = strings.NewReplacer("8888", fmt.Sprint(freePort(t)), "8000", fmt.Sprint(freePort(t))).Replace(script)
	port := script[strings.Index(script, "127.0.0.1:")+len("127.0.0.1:"):]
	port, _, _ = strings.Cut(port, "/")
	script = strings.Replace(script, `"shared_secret"`, `"port": `+port+`, "shared_secret"`, 1)

	cmd := exec.Command("bash", "-e", "-c", script)
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+repo)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it leaves in the background ends with the test
	log, err := os.Create(filepath.Join(repo, "out.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err = <-done:
	case <-time.After(3 * time.Minute):
		err = fmt.Errorf("the commands do not end")
	}
	out, _ := os.ReadFile(log.Name())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`"service":"netboot-imager","status":"ok"`, `"success":true,"message":"Image successfully written to `, `"stage":"complete","percent":100`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the README's commands do not print %s:\n%s", want, out)
		}
	}
}
