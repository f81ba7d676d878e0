package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// silence is how long a connection of GET /events may be silent before it is thought
	// dead: a station says something every 15 s at least.
	silence = 40 * time.Second
	// pause is between two attempts to reach a station.
	pause = time.Second
)

// LostError is returned when a station could not be reached for too long. Its job may
// have gone on, or ended in any way.
type LostError struct {
	For time.Duration
	Err error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("lost: not reachable for %v (%v)", e.For, e.Err)
}

func (e *LostError) Unwrap() error { return e.Err }

// OtherJobError is returned when a station that was reached again knows nothing of the job.
type OtherJobError struct{ Job string }

func (e *OtherJobError) Error() string {
	return fmt.Sprintf("the station knows nothing of job %s any more: it was restarted, or somebody else has used it", e.Job)
}

// Follow calls show with each status of a job until the job has ended, and returns the
// last one. A connection that breaks is made again; what happened meanwhile is found in
// the station's status and receipts. It gives up when the station was not reachable for
// patience.
//
// The error is not the job's: see Status.Stage and Status.Error for that.
func (c *Client) Follow(ctx context.Context, s Station, job string, patience time.Duration, show func(Status)) (Status, error) {
	var last Status
	reached := time.Now()
	for {
		err := c.Events(ctx, s, func(st Status) bool {
			reached, last = time.Now(), st
			if st.Job == job {
				show(st)
			}
			return st.Job == job && st.Running()
		})
		if ctx.Err() != nil {
			return last, context.Cause(ctx)
		}
		switch {
		case err == nil && last.Job == job:
			return last, nil
		case err == nil:
			var st Status
			if st, err = c.missed(ctx, s, job); err == nil || is[*OtherJobError](err) {
				return st, err
			}
		}
		if away := time.Since(reached); away > patience {
			return last, &LostError{away.Round(time.Second), err}
		}
		lost := last
		lost.Message, lost.BytesPerSecond, lost.ETASeconds = "not reachable, trying again: "+err.Error(), 0, nil
		show(lost)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return last, context.Cause(ctx)
		}
	}
}

func is[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// missed looks for a job that another one has replaced in the status.
func (c *Client) missed(ctx context.Context, s Station, job string) (Status, error) {
	receipts, err := c.Receipts(ctx, s)
	if err != nil {
		return Status{}, err
	}
	for _, r := range receipts {
		if r.Job == job {
			return Status{Stage: StageComplete, Percent: 100, Job: job, Device: r.Device, Receipt: &r}, nil
		}
	}
	return Status{}, &OtherJobError{job}
}

// Events calls f with each event of GET /events until f returns false, which is no error.
func (c *Client) Events(ctx context.Context, s Station, f func(Status) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(errors.New("it has fallen silent")) })
	defer quiet.Stop()
	resp, err := c.send(ctx, s, http.MethodGet, "/events", nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return decode(s, resp, new(Status))
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer) // a receipt is long
	for lines.Scan() {
		quiet.Reset(silence)
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		if !ok {
			continue
		}
		var st Status
		if err := json.Unmarshal(data, &st); err != nil {
			return &Error{resp.StatusCode, fmt.Sprintf("%s sent an event that no imager sends: %v", s.Addr, err)}
		}
		if !f(st) {
			return nil
		}
	}
	err = lines.Err()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil:
		err = errors.New("it closed the connection")
	}
	return &UnreachableError{s.Addr, err}
}
