package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/spf13/cobra"
)

func (a *app) cancelCommand() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   "cancel --station HOST,…",
		Short: "cancel the writes that run; their disks will not boot",
		Long: `cancel stops the write that each station runs. Its disk is left not bootable and must be
written again. A station that runs no write is not good here: there is nothing to cancel.`,
		Example: "  flash cancel --station 10.0.0.5",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stations, err := a.targets()
			if err != nil {
				return err
			}
			token, err := a.token()
			if err != nil {
				return err
			}
			return a.cancel(cmd.Context(), client.New(token), stations, yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "cancel without asking")
	return cmd
}

func (a *app) cancel(ctx context.Context, c *client.Client, stations []client.Station, yes bool) error {
	if !yes {
		if !a.interactive() {
			return errors.New("nothing was cancelled: there is no terminal to ask on; add --yes if these are the right stations")
		}
		for _, f := range ask(ctx, a, stations, c.Status) {
			switch {
			case f.Error != "":
				fmt.Fprintf(a.Stderr, "  %s  %s\n", clean(f.Station), clean(f.Error))
			case f.Answer.Running():
				fmt.Fprintf(a.Stderr, "  %s  writes %s to %s, %d%%\n", clean(f.Station), clean(f.Answer.ImageURL), clean(f.Answer.Device), f.Answer.Percent)
			default:
				fmt.Fprintf(a.Stderr, "  %s  writes nothing\n", clean(f.Station))
			}
		}
		fmt.Fprint(a.Stderr, "Type yes to cancel; the disks will not boot: ")
		if line, err := a.answer(ctx); err != nil || line != "yes" {
			return errors.New("nothing was cancelled: the answer was not yes")
		}
	}
	return tell(a, ask(ctx, a, stations, c.Cancel), []string{""}, func(answer client.Answer) [][]string {
		return [][]string{{answer.Message}}
	}, always)
}
