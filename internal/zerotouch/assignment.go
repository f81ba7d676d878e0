package zerotouch

import (
	"errors"
	"fmt"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/station"
)

// Assigned is the task that the boot server assigns in its answer to an announcement.
func Assigned(a announce.Assignment) (*Task, error) {
	t := &Task{Order: station.Order{ImageURL: a.ImageURL, Device: a.Device, SHA256: a.SHA256}, Then: a.Then}
	switch t.Then {
	case Wait, PowerOff, Reboot:
	case "":
		t.Then = Wait
	default:
		return nil, fmt.Errorf("it ends with %q; it must be %s, %s or %s", t.Then, Wait, Reboot, PowerOff)
	}
	if t.Order.SHA256 == "" {
		return nil, errors.New("it lacks the SHA-256 of the decompressed image: without it a station that boots again would write again")
	}
	return t, nil
}
