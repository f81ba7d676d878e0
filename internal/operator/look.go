package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// found is what one station answered. Its JSON has the answer under the name of what was
// asked.
type found[T any] struct {
	Station string `json:"station"`
	Address string `json:"address"`
	Error   string `json:"error,omitempty"`
	Answer  T      `json:"answer"`
}

// ask asks all stations the same, at the same time, and returns the answers in order.
func ask[T any](ctx context.Context, a *app, stations []client.Station, question func(context.Context, client.Station) (T, error)) []found[T] {
	ctx, stop := a.untilSignal(ctx)
	defer stop()
	answers := make([]found[T], len(stations))
	var g errgroup.Group
	g.SetLimit(most)
	for i, s := range stations {
		g.Go(func() error {
			f := &answers[i]
			f.Station, f.Address = s.Name, s.Addr
			var err error
			if f.Answer, err = question(ctx, s); err != nil {
				f.Error = err.Error()
				var e *client.Error
				if errors.As(err, &e) {
					if advice := adviceFor(e); advice != "" {
						f.Error += "; " + advice
					}
				}
			}
			return nil
		})
	}
	g.Wait()
	return answers
}

// tell prints answers as JSON or as a table. good says whether an answer is a good one.
func tell[T any](a *app, answers []found[T], head []string, rows func(T) [][]string, good func(T) bool) error {
	bad := 0
	lines := [][]string{append([]string{"STATION"}, head...)}
	for _, f := range answers {
		if f.Error != "" || !good(f.Answer) {
			bad++
		}
		if f.Error != "" {
			lines = append(lines, []string{f.Station, "ERROR: " + f.Error})
			continue
		}
		for _, row := range rows(f.Answer) {
			lines = append(lines, append([]string{f.Station}, row...))
		}
	}
	if a.json {
		if err := a.printJSON(answers); err != nil {
			return err
		}
	} else {
		table(a.Stdout, lines)
	}
	if bad > 0 {
		return &NotGoodError{fmt.Sprintf("%d of %s not good", bad, count(len(answers), "station"))}
	}
	return nil
}

func always[T any](T) bool { return true }

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status --station HOST,…",
		Short: "say what the stations do, or how their last write ended",
		Long: `status says what each station does, or how its last write ended. A station that does not
answer, or whose last write failed, makes the exit status 1.`,
		Example: "  flash status --station 10.0.0.5,10.0.0.6",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stations, err := a.targets()
			if err != nil {
				return err
			}
			return tell(a, ask(cmd.Context(), a, stations, client.New("").Status), []string{"STAGE", "%", "DISK", ""},
				func(st client.Status) [][]string {
					text := detail(st)
					if st.Error != nil {
						text = *st.Error
					}
					return [][]string{{st.Stage, strconv.Itoa(st.Percent), cmp.Or(st.Device, "-"), text}}
				}, func(st client.Status) bool { return st.Stage != client.StageError })
		},
	}
}

func (a *app) disksCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "disks --station HOST,…",
		Short:   "list the disks that the stations may write",
		Long:    "disks lists the disks that each station may write; the first is the one that flash write takes by default.",
		Example: "  flash disks --station 10.0.0.5,10.0.0.6",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stations, err := a.targets()
			if err != nil {
				return err
			}
			return tell(a, ask(cmd.Context(), a, stations, client.New("").Disks), []string{"DISK", "SIZE", "MODEL", "SERIAL", "HOLDS", ""},
				func(disks []client.Disk) (rows [][]string) {
					for _, d := range disks {
						switch {
						case !d.Present && d.Error == "":
							rows = append(rows, []string{d.Device, "not present"})
						case d.Error != "":
							rows = append(rows, append(diskCells(d), "ERROR: "+d.Error))
						case d.InUse != "":
							rows = append(rows, append(diskCells(d), "in use: "+d.InUse))
						default:
							rows = append(rows, diskCells(d))
						}
					}
					return rows
				}, always)
		},
	}
}

func (a *app) receiptsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "receipts --station HOST,…",
		Short:   "show what the last successful writes left",
		Long:    "receipts shows each station's last successful writes, newest first. A station that runs from RAM forgets them when it reboots.",
		Example: "  flash receipts --station 10.0.0.5 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stations, err := a.targets()
			if err != nil {
				return err
			}
			return tell(a, ask(cmd.Context(), a, stations, client.New("").Receipts), []string{"JOB", "FINISHED", "DISK", "", "IMAGE"},
				func(receipts []client.Receipt) (rows [][]string) {
					for _, r := range receipts {
						rows = append(rows, []string{r.Job, r.Finished.UTC().Format(time.RFC3339), r.Device, outcome(&r), r.ImageURL})
					}
					if rows == nil {
						rows = [][]string{{"none"}}
					}
					return rows
				}, always)
		},
	}
}
