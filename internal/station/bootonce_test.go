package station

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// TestBootOnce asks the firmware only if asked to, after a success, and before the answer.
// What the firmware says does not matter to the write.
func TestBootOnce(t *testing.T) {
	g := newRig(t, 8*mib)
	var asked []string
	answer := error(nil)
	g.station.opt.BootOnce = func(_, device string) error {
		asked = append(asked, device)
		return answer
	}
	good := flashtest.NewServer(t, flashtest.Image(4*mib, 1))
	if a := g.write(good, nil); a.status != 200 || len(asked) != 0 {
		t.Errorf("not asked for: %v, %q", a, asked)
	}
	if a := g.write(flashtest.NewServer(t, []byte("no image")), fields{"boot_once": true}); a.status != 422 || len(asked) != 0 {
		t.Errorf("a failed write: %v, %q", a, asked)
	}
	if a := g.write(good, fields{"boot_once": true}); a.status != 200 || len(asked) != 1 || asked[0] != g.dev {
		t.Errorf("asked for: %v, %q", a, asked)
	}
	answer = errors.New("no mailbox")
	if a := g.write(good, fields{"boot_once": true}); a.status != 200 || !strings.Contains(g.log.String(), "the next boot is as always: no mailbox") {
		t.Errorf("a firmware that cannot: %v", a)
	}
}

// TestLastWords has the boot server told before the machine reboots.
func TestLastWords(t *testing.T) {
	g := newRig(t, 8*mib)
	receipts := -1
	g.station.opt.BeforeReboot = func(context.Context) {
		receipts = len(g.station.Announcement().Receipts)
		select {
		case <-g.rebooted:
			t.Error("the machine rebooted first")
		default:
		}
	}
	if a := g.write(flashtest.NewServer(t, flashtest.Image(4*mib, 1)), fields{"reboot": true}); a.status != 200 {
		t.Fatal(a)
	}
	<-g.rebooted
	if receipts != 1 {
		t.Errorf("%d receipts to tell of before the reboot, want 1", receipts)
	}
}
