package main

import (
	"net/http"

	"github.com/spf13/cobra"
)

// assignCommand has stations write an image by themselves.
func assignCommand() *cobra.Command {
	var (
		r    remote
		body struct {
			Image    string `json:"image,omitempty"`
			ImageURL string `json:"image_url,omitempty"`
			SHA256   string `json:"sha256,omitempty"`
			Device   string `json:"device,omitempty"`
			Then     string `json:"then,omitempty"`
		}
	)
	cmd := r.register(&cobra.Command{
		Use: "assign SERIAL...", Short: "have Raspberry Pis write an image, once, when they announce themselves next", Args: cobra.MinimumNArgs(1),
		Example: "  netbootd assign 1234abcd --image raspios --sha256 HEX --then reboot",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, id := range args {
				if err := r.act(cmd, http.MethodPost, stationPath(id, "/assign"), body); err != nil {
					return err
				}
			}
			return nil
		},
	})
	f := cmd.Flags()
	f.StringVar(&body.Image, "image", "", "`NAME` of one of netbootd's images")
	f.StringVar(&body.ImageURL, "image-url", "", "`URL` of an image elsewhere")
	f.StringVar(&body.SHA256, "sha256", "", "SHA-256 of the decompressed image, in `HEX`; needed unless it is a raw one of netbootd's")
	f.StringVar(&body.Device, "device", "", "`DISK` to write (default: the first that the station may)")
	f.StringVar(&body.Then, "then", "wait", "reboot, poweroff or wait, after the write")
	return cmd
}

func unassignCommand() *cobra.Command {
	var r remote
	return r.register(&cobra.Command{
		Use: "unassign SERIAL...", Short: "take assignments back; a write that runs goes on", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, id := range args {
				if err := r.act(cmd, http.MethodPost, stationPath(id, "/unassign"), nil); err != nil {
					return err
				}
			}
			return nil
		},
	})
}
