package stations

import (
	"context"
	"fmt"
	"time"

	"github.com/openseastack/netboot-imager/internal/client"
)

// rebootAnswer is how long a station may take to say whether it reboots.
const rebootAnswer = 15 * time.Second

// Rebooter returns what asks stations to reboot. They refuse while a write runs.
func Rebooter(c *client.Client) func(context.Context, Station) error {
	return func(ctx context.Context, s Station) error {
		ctx, cancel := context.WithTimeout(ctx, rebootAnswer)
		defer cancel()
		if _, err := c.Reboot(ctx, s.Target()); err != nil {
			return fmt.Errorf("station %s does not reboot: %w", s.ID, err)
		}
		return nil
	}
}
