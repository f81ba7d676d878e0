package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/station"
	"github.com/openseastack/netboot-imager/internal/zerotouch"
)

// assignments carries out what the boot server assigns to the station, one at a time and
// each once: see zerotouch.
type assignments struct {
	station  *station.Server
	powerOff func() error
	logf     func(format string, args ...any)

	mu      sync.Mutex
	last    string             // ID of the last one that was taken
	running context.CancelFunc // of the tries that are left; nil if none runs
	current string             // ID that the last answer held, "" for none
	outcome *announce.Outcome
}

// result is what to tell the boot server of the last assignment.
func (a *assignments) result() *announce.Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.outcome
}

// take begins an assignment, unless it was begun before or another write runs: the boot
// server repeats it. nil, or another one, ends the tries of the one that waits for its image
// or its disk; a write that runs goes on.
func (a *assignments) take(ctx context.Context, got *announce.Assignment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current = ""
	if got != nil {
		a.current = got.ID
	}
	if got == nil || got.ID == "" || got.ID == a.last || a.running != nil || a.station.Busy() {
		return
	}
	a.last, a.outcome = got.ID, nil
	task, err := zerotouch.Assigned(*got)
	if err != nil {
		a.logf("assignment %q: %v; nothing is written", got.ID, err)
		a.outcome = &announce.Outcome{ID: got.ID, Error: err.Error()}
		return
	}
	a.logf("assignment %q has come", got.ID)
	ctx, a.running = context.WithCancel(ctx)
	go a.run(ctx, got.ID, task)
}

func (a *assignments) run(ctx context.Context, id string, task *zerotouch.Task) {
	err := zerotouch.Run(ctx, a.station, task, a.powerOff, a.logf, func(ctx context.Context, d time.Duration) {
		zerotouch.After(ctx, d)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.current != id {
			a.logf("assignment %q is taken back", id)
			a.running()
		}
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	withdrawn := ctx.Err() != nil
	a.running()
	a.running = nil
	var busy *station.BusyError
	switch {
	case err == nil:
	case errors.As(err, &busy), withdrawn:
		a.last = "" // it may come again
	case errors.Is(err, station.ErrCarries):
		a.outcome = &announce.Outcome{ID: id, Carries: true}
	default:
		a.outcome = &announce.Outcome{ID: id, Error: err.Error()}
	}
}
