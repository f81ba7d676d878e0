package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// screen is a terminal that flash runs on, and somebody who types.
type screen struct {
	t   *testing.T
	tty *os.File
	cmd *exec.Cmd

	mu     sync.Mutex
	text   string
	seen   int // what expect has come past
	ended  chan struct{}
	result error
}

func newScreen(t *testing.T, args ...string) *screen {
	t.Helper()
	s := &screen{t: t, cmd: exec.Command(filepath.Join(programs, "flash"), args...), ended: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), "NETBOOT_TOKEN="+token, "TERM=xterm")
	var err error
	if s.tty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Rows: 30, Cols: 160}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); <-s.ended; s.tty.Close() })
	go func() {
		defer close(s.ended)
		buf := make([]byte, 4096)
		for {
			n, err := s.tty.Read(buf)
			s.mu.Lock()
			s.text += string(buf[:n])
			s.mu.Unlock()
			if err != nil {
				break
			}
		}
		s.result = s.cmd.Wait()
	}()
	return s
}

// expect waits until text appears behind what was expected before.
func (s *screen) expect(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		at, all := strings.Index(s.text[s.seen:], text), s.text
		if at >= 0 {
			s.seen += at + len(text)
		}
		s.mu.Unlock()
		if at >= 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the terminal never shows %q:\n%s", text, all)
		}
	}
}

func (s *screen) enter(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.tty, keys); err != nil {
		s.t.Fatal(err)
	}
}

// end waits for the command's end.
func (s *screen) end() error {
	<-s.ended
	return s.result
}

// TestTerminal answers what flash asks on a terminal.
func TestTerminal(t *testing.T) {
	flashtest.NeedRoot(t) // for the gate
	l := newLab(t, t.TempDir())
	img := flashtest.Image(8<<20, 1)
	_, url := l.gate(img)
	addr := l.station("one", 16)
	one := l.stations["one"]
	write := []string{"write", "--station", addr, "--image", url}

	// Only yes is yes.
	for _, answer := range []string{"y\r", "\r", "\x03", "\x04"} {
		s := newScreen(t, write...)
		s.expect("Type yes to erase it: ")
		s.enter(answer)
		s.expect("nothing was written: ")
		if s.end() == nil {
			t.Errorf("after the answer %q the exit status is 0", answer)
		}
		if string(one.content()) != string(one.old) {
			t.Fatalf("after the answer %q the disk was changed", answer)
		}
	}

	// Ctrl-C: going on, and cancelling.
	s := newScreen(t, write...)
	s.expect("1 disk will be ERASED and written with " + url)
	s.expect(one.disk + "  16.8 MB  file-backed disk  no serial")
	s.expect("Type yes to erase it: ")
	s.enter("yes\r")
	s.expect("writing")
	s.expect("10%")
	s.enter("\x03")
	s.expect("Type c to CANCEL the writes")
	s.enter("\r")
	s.expect("Going on.")
	s.enter("\x03")
	s.expect("Type c to CANCEL the writes")
	s.enter("c\r")
	s.expect("CANCELLED  " + addr)
	s.expect("why:  cancelled by a request from 127.0.0.1")
	s.expect("left not bootable")
	s.expect("do:   write it again")
	s.expect("0 of 1 station: good. 1 NOT.")
	if s.end() == nil {
		t.Error("after a cancel the exit status is 0")
	}
	if string(one.content()[:1<<20]) != string(make([]byte, 1<<20)) {
		t.Error("after a cancel the first MiB is not zero")
	}

	// Ctrl-C: leaving it running.
	s = newScreen(t, write...)
	s.expect("Type yes to erase it: ")
	s.enter("yes\r")
	s.expect("writing")
	s.enter("\x03")
	s.expect("Type c to CANCEL the writes")
	s.enter("l\r")
	s.expect("The writes that run are left running.")
	s.expect("RUNNING  " + addr)
	if s.end() == nil {
		t.Error("with a write left running the exit status is 0")
	}
	l.open()
	if err := one.await(`"stage":"complete"`); err != nil {
		t.Fatal(err)
	}
	if string(one.content()[:len(img)]) != string(img) {
		t.Error("the write that was left running has not ended well")
	}

	// The question stands while the write ends.
	_, url = l.gate(img)
	s = newScreen(t, "write", "--yes", "--station", addr, "--image", url)
	s.expect("writing")
	s.enter("\x03")
	s.expect("Type c to CANCEL the writes")
	l.open()
	s.expect("All of 1 station: good.")
	if err := s.end(); err != nil {
		t.Errorf("a write that ended well while the question stood: %v", err)
	}
}
