package operator

import (
	"bufio"
	"context"
	"errors"
	"strings"
)

// errInterrupted is returned by answer when a signal came instead.
var errInterrupted = errors.New("interrupted")

// answer reads a line that somebody types. A signal or the end of ctx ends the waiting.
func (a *app) answer(ctx context.Context) (string, error) {
	if a.answers == nil {
		// One reader for the whole run: it cannot be stopped while it waits for a line.
		lines := make(chan string)
		a.answers = lines
		go func() {
			defer close(lines)
			in := bufio.NewScanner(a.Stdin)
			for in.Scan() {
				lines <- in.Text()
			}
		}()
	}
	select {
	case line, ok := <-a.answers:
		if !ok {
			return "", errors.New("nobody answers: standard input has ended")
		}
		return strings.ToLower(strings.TrimSpace(line)), nil
	case <-a.Signals:
		return "", errInterrupted
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// untilSignal returns a context that a signal ends, for what only asks. stop must be called
// before somebody else listens for signals.
func (a *app) untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-a.Signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-ended
	}
}
