package panel

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// LED is a LED of the kernel's LED class (Documentation/leds/leds-class.rst).
type LED struct {
	dir string
	on  string // what is written to brightness
}

// names are those of the activity LED: by the device trees of today, and of old.
var names = []string{"ACT", "led0"}

// FindLED returns the activity LED below sys ("/sys"); nil if the machine has none.
func FindLED(sys string) *LED {
	for _, name := range names {
		dir := filepath.Join(sys, "class/leds", name)
		if _, err := os.Stat(filepath.Join(dir, "brightness")); err != nil {
			continue
		}
		on := "1"
		if b, err := os.ReadFile(filepath.Join(dir, "max_brightness")); err == nil {
			on = strings.TrimSpace(string(b))
		}
		return &LED{dir, on}
	}
	return nil
}

// Beat is the time between two ticks of Run.
const Beat = 100 * time.Millisecond

// lit is the pattern of a mood at a tick: dark while starting, a short flash every 2 s
// when idle, half a second on and off while working, steady when done, and as fast as
// ticks allow, five times a second, when failed.
func lit(m mood, tick int) bool {
	switch m {
	case idle:
		return tick%20 == 0
	case working:
		return tick%10 < 5
	case done:
		return true
	case failed:
		return tick%2 == 0
	}
	return false
}

// Run shows the view at each tick until ctx ends, and gives the LED back to the kernel
// then. The kernel's timer trigger is not used: not every kernel has it.
func (l *LED) Run(ctx context.Context, ticks <-chan time.Time, view func() View) error {
	before := l.trigger()
	if err := l.write("trigger", "none"); err != nil {
		return err
	}
	defer l.write("trigger", before)
	defer l.write("brightness", "0")
	was := -1
	for tick := 0; ; tick++ {
		now := 0
		if lit(view().mood(), tick) {
			now = 1
		}
		if now != was {
			if err := l.write("brightness", [2]string{"0", l.on}[now]); err != nil {
				return err
			}
			was = now
		}
		select {
		case <-ticks:
		case <-ctx.Done():
			return nil
		}
	}
}

// trigger is what switches the LED now: the word in brackets.
func (l *LED) trigger() string {
	b, _ := os.ReadFile(filepath.Join(l.dir, "trigger"))
	_, rest, _ := strings.Cut(string(b), "[")
	name, _, ok := strings.Cut(rest, "]")
	if !ok {
		return "none"
	}
	return name
}

// write stores a value, like echo into sysfs: it creates nothing.
func (l *LED) write(name, value string) error {
	f, err := os.OpenFile(filepath.Join(l.dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
