package zerotouch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/source"
	"github.com/openseastack/netboot-imager/internal/station"
)

func TestParse(t *testing.T) {
	tests := []struct {
		line string
		want Task // zero for no task
		err  string
	}{
		{"console=tty1 root=/dev/loop0p2", Task{}, ""},
		{"imager.write=http://s/i imager.sha256=ab", Task{station.Order{ImageURL: "http://s/i", SHA256: "ab"}, Wait}, ""},
		{"imager.write=http://s/i imager.device=/dev/nvme0n1 imager.sha256=ab imager.then=reboot", Task{station.Order{ImageURL: "http://s/i", Device: "/dev/nvme0n1", SHA256: "ab"}, Reboot}, ""},
		{"imager.write=http://s/i imager.sha256=ab imager.then=poweroff", Task{station.Order{ImageURL: "http://s/i", SHA256: "ab"}, PowerOff}, ""},
		{"imager.write=http://s/i", Task{}, "needs imager.sha256"},
		{"imager.write=http://s/i imager.sha256=ab imager.then=", Task{}, "must be wait, reboot or poweroff"},
		{"imager.device=/dev/nvme0n1 imager.sha256=ab", Task{}, ""},
	}
	for _, tt := range tests {
		got, err := Parse(tt.line)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("Parse(%q): %v, want %q", tt.line, err, tt.err)
		}
		if got == nil {
			got = &Task{}
		}
		if *got != tt.want {
			t.Errorf("Parse(%q) = %+v, want %+v", tt.line, *got, tt.want)
		}
	}
}

// script is a station that fails as told.
type script struct {
	errs    []error // of Write
	unknown bool    // the image is not found on the disk afterwards
	did     []string
}

func (s *script) Write(context.Context, station.Order) error {
	err := s.errs[0]
	s.errs = s.errs[1:]
	return err
}

func (s *script) Carries(context.Context, station.Order) (bool, error) { return !s.unknown, nil }

func (s *script) Restart(string) error {
	s.did = append(s.did, "reboot")
	return nil
}

// TestRun: what is tried again, for how long, and what comes after a write alone.
func TestRun(t *testing.T) {
	away := &source.ServerError{URL: "http://s/i", Why: "cannot be reached"}
	absent := &disk.NotPresentError{}
	tests := []struct {
		name string
		then string
		s    script
		want string // waits, then "off" or "reboot"
	}{
		{"at once", Wait, script{errs: []error{nil}}, ""},
		{"power off", PowerOff, script{errs: []error{nil}}, "off"},
		{"reboot", Reboot, script{errs: []error{nil}}, "reboot"},
		{"not there yet", PowerOff, script{errs: []error{away, absent, away, away, away, away, away, nil}}, "2s 4s 8s 16s 32s 1m0s 1m0s off"},
		{"already there", Reboot, script{errs: []error{station.ErrCarries}}, ""},
		{"never to be found", Reboot, script{errs: []error{nil}, unknown: true}, ""},
		{"never to be found", PowerOff, script{errs: []error{nil}, unknown: true}, ""},
		{"given up", Reboot, script{errs: []error{away, &source.HostError{Host: "192.0.2.1"}}}, "2s"},
		{"corrupt", Reboot, script{errs: []error{&source.ImageError{Why: "corrupt"}}}, ""},
		{"another error", Reboot, script{errs: []error{errors.New("some other error")}}, ""},
	}
	for _, tt := range tests {
		s := &tt.s
		Run(t.Context(), s, &Task{Then: tt.then},
			func() error { s.did = append(s.did, "off"); return nil }, func(string, ...any) {},
			func(_ context.Context, d time.Duration) { s.did = append(s.did, fmt.Sprint(d)) })
		if got := strings.Join(s.did, " "); got != tt.want || len(s.errs) > 0 {
			t.Errorf("%s: %q, want %q; %d not tried", tt.name, got, tt.want, len(s.errs))
		}
	}
}
