package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openseastack/netboot-imager/internal/board"
	"github.com/openseastack/netboot-imager/internal/client"
	"golang.org/x/sync/errgroup"
)

// Results of a task.
const (
	resultGood      = "good"      // written and, unless that was not wanted, read back and equal; or a dry run without a complaint
	resultFailed    = "failed"    // refused, or ended with an error
	resultCancelled = "cancelled" // by this command
	resultRunning   = "running"   // left alone before its end
	resultUnknown   = "unknown"   // the station was lost
	resultSkipped   = "skipped"   // not begun
)

// task is one station's write. Its exported fields are the JSON of the report.
type task struct {
	Station string          `json:"station"`
	Address string          `json:"address"`
	Device  string          `json:"device,omitempty"`
	Result  string          `json:"result"`
	Error   string          `json:"error,omitempty"`
	Advice  string          `json:"advice,omitempty"`
	Message string          `json:"message,omitempty"`
	Job     string          `json:"job,omitempty"`
	Receipt *client.Receipt `json:"receipt,omitempty"`

	station client.Station
	facts   client.Facts
	disk    client.Disk
	row     *board.Row
	reached float64 // fraction

	mu  sync.Mutex
	job string // accepted by the station, "" before that and after its end
}

// fleet is the stations of one flash write.
type fleet struct {
	*app
	opt    writeOptions
	client *client.Client
	local  *localImage // nil if the image is somewhere else
	tasks  []*task
	board  *board.Board

	cancelling atomic.Bool
}

// most is how many stations are asked at the same time.
const most = 64

// look asks the stations for their disks. A station that cannot write fails here; the
// error is that of ctx.
func (f *fleet) look(ctx context.Context, stations []client.Station) error {
	ctx, stop := f.untilSignal(ctx)
	defer stop()
	var g errgroup.Group
	g.SetLimit(most)
	for _, s := range stations {
		t := &task{Station: s.Name, Address: s.Addr, Device: f.opt.device, station: s}
		f.tasks = append(f.tasks, t)
		g.Go(func() error {
			if err := f.examine(ctx, t); err != nil {
				f.fail(t, resultFailed, err)
			}
			return nil
		})
	}
	g.Wait()
	return context.Cause(ctx)
}

// examine finds the disk that t is to write.
func (f *fleet) examine(ctx context.Context, t *task) error {
	disks, err := f.client.Disks(ctx, t.station)
	if err != nil {
		return err
	}
	if t.facts, err = f.client.Facts(ctx, t.station); err != nil {
		return err
	}
	var names []string
	for _, d := range disks {
		names = append(names, d.Device)
		if t.Device == "" || t.Device == d.Device {
			t.Device, t.disk = d.Device, d
			break
		}
	}
	switch d := t.disk; {
	case d.Device == "":
		return fmt.Errorf("%s is not among the disks that this station allows: %s", cmp.Or(t.Device, "a disk"), strings.Join(names, ", "))
	case !d.Present && d.Error == "":
		return fmt.Errorf("%s is not present; insert or connect the disk", d.Device)
	case d.InUse != "":
		if strings.HasPrefix(d.InUse, "job ") {
			t.Advice = "wait for its end (flash watch) or cancel it (flash cancel), and write again"
		}
		return fmt.Errorf("%s is in use: %s", d.Device, d.InUse)
	case d.Error != "":
		return errors.New(d.Error)
	}
	return nil
}

// run has all stations write, and returns when there is nothing more to wait for.
func (f *fleet) run(ctx context.Context) {
	begin, beginNoMore := context.WithCancel(ctx)
	watch, leave := context.WithCancel(ctx)
	defer beginNoMore()
	defer leave()
	f.board = board.New(f.Stderr)
	waiting := 0
	// All rows before the first write: the bars end when the last of them does.
	for _, t := range f.tasks {
		if t.Result == "" {
			t.row = f.board.Row(t.station.Name)
			if waiting++; waiting > f.opt.parallel {
				t.row.Set(board.State{Stage: "waiting"})
			}
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var g errgroup.Group
		g.SetLimit(f.opt.parallel)
		for _, t := range f.tasks {
			if t.Result != "" {
				continue
			}
			g.Go(func() error {
				f.do(begin, watch, t)
				return nil
			})
		}
		g.Wait()
	}()
	f.wait(ctx, done, beginNoMore, leave)
	f.board.Close()
}

// do is one station's write, from the request to its end.
func (f *fleet) do(begin, watch context.Context, t *task) {
	if begin.Err() != nil {
		f.fail(t, resultSkipped, errors.New("not begun; nothing was written"))
		return
	}
	st, err := f.perform(watch, t)
	t.mu.Lock()
	t.job = ""
	t.mu.Unlock()
	var refused *client.Error
	switch {
	case err != nil && watch.Err() != nil:
		f.fail(t, resultRunning, errors.New("left running; how it ends is not known"))
	case errors.As(err, &refused):
		f.fail(t, resultFailed, err)
	case err != nil && t.Job != "": // it had begun
		f.fail(t, resultUnknown, err)
	case err != nil:
		f.fail(t, resultFailed, err)
	case st.Stage == client.StageError:
		result, text := resultFailed, "the station says no reason"
		if st.Error != nil {
			text = *st.Error
		}
		if f.cancelling.Load() && strings.HasPrefix(text, "cancelled by ") {
			result = resultCancelled
		}
		f.fail(t, result, errors.New(text))
	default:
		f.good(watch, t, st)
	}
}

// perform asks for the write and follows it. Of a dry run the answer is the end.
func (f *fleet) perform(ctx context.Context, t *task) (client.Status, error) {
	r := client.WriteRequest{Device: t.Device, ImageURL: f.opt.image, SHA256: f.opt.sha256, DryRun: f.opt.dryRun}
	no := false
	if f.opt.noVerify {
		r.Verify = &no
	}
	// The station must not go before it has told how the write went: this command has it
	// reboot afterwards.
	if f.opt.reboot {
		r.Reboot = &no
	}
	if f.local != nil {
		var err error
		if r.ImageURL, err = f.local.urlFor(ctx, t.station); err != nil {
			return client.Status{}, err
		}
	}
	answer, err := f.client.Write(ctx, t.station, r)
	if err != nil {
		if f.local != nil && strings.Contains(err.Error(), "image host not allowed") {
			t.Advice = fmt.Sprintf("this machine serves the image, as %s: add %q to image_hosts in the station's config, or give --image the URL of a server that is allowed",
				host(r.ImageURL), host(r.ImageURL))
		}
		return client.Status{}, err
	}
	if f.opt.dryRun {
		t.Message = answer.Message
		return client.Status{Stage: client.StageComplete}, nil
	}
	t.mu.Lock()
	t.Job, t.job = answer.Job, answer.Job
	t.mu.Unlock()
	if f.cancelling.Load() {
		f.cancel(ctx, t)
	}
	return f.client.Follow(ctx, t.station, answer.Job, f.opt.patience, func(st client.Status) {
		if st.Stage == client.StageComplete || st.Stage == client.StageError {
			return // what that means is found out below
		}
		t.reached = float64(st.Percent) / 100
		t.row.Set(board.State{Stage: cmp.Or(clean(st.Stage), "asking"), Fraction: t.reached, Detail: detail(st)})
	})
}

// good takes a success, but for what only this command can find out about it.
func (f *fleet) good(ctx context.Context, t *task, st client.Status) {
	t.Receipt = st.Receipt
	if f.opt.dryRun {
		t.Result = resultGood
		t.row.End(board.State{Stage: "checked", Fraction: 1})
		return
	}
	if t.Receipt == nil {
		f.fail(t, resultUnknown, errors.New("the station claims success but shows no receipt"))
		return
	}
	if f.local != nil {
		if err := f.local.check(t.Receipt); err != nil {
			t.Advice = "write it again, and leave the file alone meanwhile"
			f.fail(t, resultFailed, err)
			return
		}
	}
	t.Message = outcome(t.Receipt)
	if f.opt.reboot {
		if _, err := f.client.Reboot(ctx, t.station); err != nil {
			t.Advice = "the disk is good; restart the station yourself"
			f.fail(t, resultFailed, fmt.Errorf("%s, but not rebooted: %w", t.Message, err))
			return
		}
		t.Message += ", rebooting"
	}
	t.Result = resultGood
	t.row.End(board.State{Stage: "good", Fraction: 1})
}

// outcome is a receipt in a line.
func outcome(r *client.Receipt) string {
	how := "read back and equal"
	if !r.Verified {
		how = "NOT read back"
	}
	return fmt.Sprintf("%s written in %v, %s, sha256 %.16s…", size(r.ImageSize), r.Finished.Sub(r.Started).Round(100*time.Millisecond), how, r.ImageSHA256)
}

// fail ends a task that is not good.
func (f *fleet) fail(t *task, result string, err error) {
	t.Result, t.Error = result, err.Error()
	if t.Advice == "" {
		t.Advice = f.advice(t, err)
	}
	if t.row != nil {
		t.row.End(board.State{Stage: result, Fraction: min(t.reached, 0.99)})
	}
}

// cancel cancels t's job, if that is what the station runs.
func (f *fleet) cancel(ctx context.Context, t *task) {
	t.mu.Lock()
	job := t.job
	t.mu.Unlock()
	if job == "" {
		return
	}
	if st, err := f.client.Status(ctx, t.station); err == nil && st.Running() && st.Job == job {
		// Its end is what Follow sees; a refusal means that it ended by itself.
		_, _ = f.client.Cancel(ctx, t.station)
	}
}
