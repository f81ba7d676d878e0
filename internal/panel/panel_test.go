package panel

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/openseastack/netboot-imager/internal/station"
)

func viewOf(stage string) View {
	v := View{
		Name: "rack1-07", Address: "http://10.0.0.5:8888/", Machine: "Raspberry Pi 4 Model B Rev 1.4, serial 100000001234abcd", Version: "1.0.0",
		Status: station.Status{Stage: stage, Device: "/dev/mmcblk0", ImageURL: "http://10.0.0.1:38434/api/images/download/os"},
	}
	switch eta := int64(75); stage {
	case "writing":
		v.Status.Percent, v.Status.Message, v.Status.BytesPerSecond, v.Status.ETASeconds, v.Status.Bottleneck = 50, "Wrote 1.0 GiB of 2.0 GiB", 90<<20, &eta, "disk"
	case station.StageError:
		text := "the image ended too early: 1000 of 2000 bytes came. The disk /dev/mmcblk0 is left not bootable; write it again"
		v.Status.Error = &text
	}
	return v
}

// TestScreen looks at what each stage shows, on a wide screen and a narrow one.
func TestScreen(t *testing.T) {
	starting := viewOf("idle")
	starting.Starting, starting.Address = "Waiting for http://10.0.0.1:38434/api/bootstrap/imager-config", ""
	evil := viewOf("writing")
	evil.Status.ImageURL = "http://x/\x1b[2J\x1b[31mDONE\r\n\u009b"
	tests := []struct {
		view View
		want []string
	}{
		{starting, []string{"STARTING", "no network address yet", "Waiting for"}},
		{viewOf("idle"), []string{"READY", "rack1-07", "http://10.0.0.5:8888/", "1234abcd", "netboot-imager 1.0.0"}},
		{viewOf("writing"), []string{"WRITING", "] 50 %", "Wrote 1.0 GiB of 2.0 GiB", "1m15s left", "limited by: disk", "to /dev/mmcblk0"}},
		{viewOf("complete"), []string{"DONE", "/dev/mmcblk0 carries the image."}},
		{viewOf("error"), []string{"FAILED", "1000 of 2000 bytes came", "left not bootable", "write it again"}},
		{evil, []string{"http://x/?[2J?[31mDONE???"}},
	}
	sequences := regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z\]]`)
	for _, tt := range tests {
		for _, columns := range []int{40, 80, 200} {
			screen := Screen(tt.view, columns)
			if !strings.Contains(screen, home) || !strings.HasSuffix(screen, eraseBelow) {
				t.Errorf("%q does not cover the whole screen", screen)
			}
			text := sequences.ReplaceAllString(screen, "")
			lines := strings.Split(text, "\r\n")
			if len(lines) > 25 {
				t.Errorf("%d lines at %d columns:\n%s", len(lines), columns, text)
			}
			for _, l := range lines {
				if len(l) > columns || strings.ContainsFunc(l, func(c rune) bool { return c < ' ' || c > '~' }) {
					t.Errorf("a line that is too long for %d columns, or no plain text: %q", columns, l)
				}
			}
			flat := strings.Join(strings.Fields(text), " ")
			for _, want := range tt.want {
				if strings.Contains(want, " ") || columns >= 80 { // long words are broken on a narrow one
					if !strings.Contains(flat, want) {
						t.Errorf("%d columns: no %q in:\n%s", columns, want, text)
					}
				}
			}
		}
	}
	if got, want := bar(50, 28), "[##########          ]  50 %"; got != want {
		t.Errorf("bar: %q, want %q", got, want)
	}
}

// TestRunScreen draws on a real terminal.
func TestRunScreen(t *testing.T) {
	control, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	defer tty.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 25, Cols: 60}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- RunScreen(ctx, tty.Name(), func() View { return viewOf("error") }) }()
	var text string
	buf := make([]byte, 4096)
	for !strings.Contains(text, eraseBelow) {
		n, err := control.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		text += string(buf[:n])
	}
	if !strings.Contains(text, "FAILED") {
		t.Errorf("the terminal shows %q", text)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := RunScreen(t.Context(), filepath.Join(t.TempDir(), "tty1"), nil); !os.IsNotExist(err) {
		t.Errorf("without a terminal: %v", err)
	}
}

// TestLED watches a LED in a sysfs made of files.
func TestLED(t *testing.T) {
	for _, name := range names {
		sys := t.TempDir()
		if FindLED(sys) != nil {
			t.Fatal("a LED where there is none")
		}
		dir := filepath.Join(sys, "class/leds", name)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"brightness": "0\n", "max_brightness": "255\n", "trigger": "none kbd-scrolllock [mmc0] timer\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		read := func(file string) string {
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		for stage, want := range map[string]string{
			"idle":     "#...................#...................",
			"writing":  "#####.....#####.....#####.....#####.....",
			"checking": "#####.....#####.....#####.....#####.....",
			"complete": "########################################",
			"error":    "#.#.#.#.#.#.#.#.#.#.#.#.#.#.#.#.#.#.#.#.",
		} {
			os.WriteFile(filepath.Join(dir, "trigger"), []byte("none [mmc0]\n"), 0o600)
			ctx, cancel := context.WithCancel(t.Context())
			ticks, asked, ended := make(chan time.Time), make(chan struct{}), make(chan error, 1)
			go func() {
				ended <- FindLED(sys).Run(ctx, ticks, func() View { asked <- struct{}{}; return viewOf(stage) })
			}()
			got := ""
			for range want {
				<-asked
				ticks <- time.Time{} // taken when the LED has been set
				switch b := read("brightness"); b {
				case "255":
					got += "#"
				case "0", "0\n":
					got += "."
				default:
					t.Fatalf("brightness is %q", b)
				}
			}
			if got != want {
				t.Errorf("%s %s: %s, want %s", name, stage, got, want)
			}
			if read("trigger") != "none" {
				t.Errorf("the kernel still has the LED: %q", read("trigger"))
			}
			<-asked
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if got := fmt.Sprint(read("brightness"), read("trigger")); got != "0mmc0" {
				t.Errorf("in the end brightness and trigger are %q", got)
			}
		}
	}
}
