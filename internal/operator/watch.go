package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/openseastack/netboot-imager/internal/board"
	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func (a *app) watchCommand() *cobra.Command {
	patience := 5 * time.Minute
	cmd := &cobra.Command{
		Use:   "watch --station HOST,…",
		Short: "watch the writes that run, to their end",
		Long: `watch shows the writes that run until the last has ended, and then what flash status shows.
Ctrl-C ends the watching and nothing else.`,
		Example: "  flash watch --station 10.0.0.5,10.0.0.6",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stations, err := a.targets()
			if err != nil {
				return err
			}
			return a.watch(cmd.Context(), stations, patience)
		},
	}
	cmd.Flags().DurationVar(&patience, "patience", patience, "how long a station may be out of reach")
	return cmd
}

// errStopped ends the watching by a signal.
var errStopped = errors.New("stopped watching; the writes go on")

func (a *app) watch(ctx context.Context, stations []client.Station, patience time.Duration) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c := client.New("")
	answers := ask(ctx, a, stations, c.Status)
	go func() {
		select {
		case <-a.Signals:
			stop(errStopped)
		case <-ctx.Done():
		}
	}()
	b := board.New(a.Stderr)
	rows := make([]*board.Row, len(answers))
	for i, f := range answers {
		if f.Error == "" && f.Answer.Running() {
			rows[i] = b.Row(f.Station)
		}
	}
	var g errgroup.Group
	for i := range answers {
		if rows[i] == nil {
			continue
		}
		g.Go(func() error {
			f, last := &answers[i], board.State{}
			st, err := c.Follow(ctx, stations[i], f.Answer.Job, patience, func(st client.Status) {
				last = board.State{Stage: clean(st.Stage), Fraction: float64(st.Percent) / 100, Detail: detail(st)}
				rows[i].Set(last)
			})
			if err != nil {
				f.Error = err.Error()
				last.Stage, last.Detail = "lost", ""
			} else {
				f.Answer, last.Stage, last.Detail = st, clean(st.Stage), ""
			}
			rows[i].End(last)
			return nil
		})
	}
	g.Wait()
	b.Close()
	if errors.Is(context.Cause(ctx), errStopped) {
		return errStopped
	}
	return tell(a, answers, []string{"STAGE", "DISK", ""}, func(st client.Status) [][]string {
		text := st.Message
		switch {
		case st.Error != nil:
			text = *st.Error
		case st.Receipt != nil:
			text = fmt.Sprintf("job %s: %s", st.Job, outcome(st.Receipt))
		}
		return [][]string{{st.Stage, st.Device, text}}
	}, func(st client.Status) bool { return st.Stage != client.StageError })
}
