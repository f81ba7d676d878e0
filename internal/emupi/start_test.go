package emupi

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/lab"
)

// fakeQEMU puts a program in the place of QEMU, which cannot be made to hang: script is run
// with $CONSOLE, and $N, how often it was started before.
func fakeQEMU(t *testing.T, script string) (starts func() int) {
	t.Helper()
	dir := t.TempDir()
	count := filepath.Join(dir, "starts")
	prologue := `#!/bin/sh
for a; do case $a in file,*path=*) CONSOLE=${a##*path=};; esac; done
touch ` + count + `; N=$(wc -l < ` + count + `); echo >> ` + count + "\n"
	if err := os.WriteFile(filepath.Join(dir, "qemu-system-aarch64"), []byte(prologue+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() int {
		b, err := os.ReadFile(count)
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
}

// start starts a Pi with patience for a hang, and returns the notes.
func start(t *testing.T, patience time.Duration) (*VM, []string, error) {
	t.Helper()
	m, err := ByName("3b")
	if err != nil {
		t.Fatal(err)
	}
	u, err := lab.NewUser(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	var notes []string
	p := &Pi{Model: m, Net: u, Dir: t.TempDir(), Note: func(s string) { notes = append(notes, s) }, patience: patience}
	kernel := make([]byte, imageHeader)
	copy(kernel[56:], "ARM\x64")
	vm, err := p.start(context.Background(), &Boot{Kernel: kernel})
	return vm, notes, err
}

func TestStartHangsOnce(t *testing.T) {
	starts := fakeQEMU(t, `[ $N = 0 ] && echo 'Booting Linux' >> $CONSOLE || echo 'Run /init as init process' >> $CONSOLE
exec sleep 1000`)
	vm, notes, err := start(t, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.Ended(); err != nil {
		t.Error(err)
	}
	vm.Kill()
	if starts() != 2 || len(notes) != 1 || !strings.Contains(notes[0], `the last it said was "Booting Linux"`) {
		t.Errorf("%d starts, notes %q", starts(), notes)
	}
}

func TestStartHangsAlways(t *testing.T) {
	fakeQEMU(t, `exec sleep 1000`)
	_, notes, err := start(t, 300*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "hung") || len(notes) != hangs {
		t.Errorf("%v, notes %q", err, notes)
	}
}

// TestStartPanics: a panic is no hang, and there is no second start.
func TestStartPanics(t *testing.T) {
	starts := fakeQEMU(t, `echo 'Kernel panic - not syncing: no root' >> $CONSOLE; exec sleep 1000`)
	vm, notes, err := start(t, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.Ended(); err == nil || !strings.Contains(err.Error(), "no root") {
		t.Errorf("Ended = %v", err)
	}
	vm.Kill()
	if starts() != 1 || len(notes) != 0 {
		t.Errorf("%d starts, notes %q", starts(), notes)
	}
}
