package bench

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/openseastack/netboot-imager/internal/flash"
)

// Sample is what one run took. Unknown numbers are -1.
type Sample struct {
	Seconds float64 `json:"seconds"` // wall
	CPU     float64 `json:"cpu"`     // seconds, user and system, of all processes of the contender
	Busy    float64 `json:"busy"`    // CPU seconds of the whole machine: image server and kernel threads, too
	RSS     int64   `json:"rss"`     // peak of the largest process, bytes; not below this program's own
	Fetched int64   `json:"fetched"` // bytes that the image server sent
	Written int64   `json:"written"` // bytes that were written to disks; zeroing does not count

	// Of the imager only.
	Phases     *flash.Phases `json:"phases,omitempty"`
	Bottleneck string        `json:"bottleneck,omitempty"`
	Compare    string        `json:"compare,omitempty"`
}

// in runs f in a network namespace; lab.Namespace.Do is one.
type in func(f func() error) error

// here runs f where it is.
func here(f func() error) error { return f() }

// timed runs a program to its end.
func timed(ctx context.Context, where in, argv ...string) (Sample, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	start, busy := time.Now(), busySeconds()
	if err := where(cmd.Start); err != nil {
		return Sample{}, fmt.Errorf("%s: %w", argv[0], err)
	}
	err := cmd.Wait()
	s := Sample{Seconds: time.Since(start).Seconds(), Busy: busySeconds() - busy}
	if err != nil {
		return s, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(out.String()))
	}
	s.usage(cmd)
	return s, nil
}

// usage fills in what the kernel counted for a program that has ended and the ones that
// it waited for.
func (s *Sample) usage(cmd *exec.Cmd) {
	s.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		s.Written = -1
		return
	}
	s.Written = ru.Oublock * 512 // getrusage(2)
	if s.RSS == 0 {
		s.RSS = ru.Maxrss << 10
	}
}
