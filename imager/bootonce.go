package main

import "github.com/openseastack/netboot-imager/internal/vcmailbox"

// bootOnce asks the firmware of a machine of this model to try a disk first at the next
// boot.
func bootOnce(model, device string) error {
	order, err := vcmailbox.OrderFor(device)
	if err != nil {
		return err
	}
	return vcmailbox.SetBootOrder(vcmailbox.Device, model, order)
}
