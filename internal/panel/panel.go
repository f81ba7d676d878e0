// Package panel shows on the machine itself how it goes: by the activity LED, and on one
// screen of the HDMI console. People in front of a rack see which Pi is done and which
// has failed, and why, without asking anybody.
package panel

import (
	"context"
	"os"
	"time"

	"github.com/openseastack/netboot-imager/internal/station"
	"golang.org/x/sys/unix"
)

// View is what is to be shown.
type View struct {
	Starting string // what the station waits for before it serves; "" once it does
	Name     string // host name
	Address  string // where it serves, "http://10.0.0.5:8888/"; "" without a network
	Machine  string // model and serial number
	Version  string
	Status   station.Status
}

// mood is the view in a word.
type mood int

const (
	starting mood = iota
	idle
	working
	done
	failed
)

func (v View) mood() mood {
	switch {
	case v.Starting != "":
		return starting
	case v.Status.Stage == station.StageIdle:
		return idle
	case v.Status.Stage == station.StageComplete:
		return done
	case v.Status.Stage == station.StageError:
		return failed
	}
	return working
}

// redraw is the time between two drawings. The kernel writes its messages over the
// screen, so it is drawn even if nothing has changed.
const redraw = time.Second

// RunScreen draws the view on a terminal until ctx ends. A terminal that cannot be
// written ends it with an error.
func RunScreen(ctx context.Context, tty string, view func() View) error {
	f, err := os.OpenFile(tty, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		columns := 80
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			columns = int(size.Col)
		}
		if _, err := f.WriteString(Screen(view(), columns)); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
