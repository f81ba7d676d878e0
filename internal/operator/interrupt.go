package operator

import (
	"context"
	"sync"
	"time"
)

// cancelTime is how long the stations may take to accept a cancellation.
const cancelTime = 30 * time.Second

// wait returns when done is closed, or when what still runs is to be left alone. A signal
// (Ctrl-C) makes somebody choose; where nobody can be asked, nothing that runs is stopped.
func (f *fleet) wait(ctx context.Context, done <-chan struct{}, beginNoMore, leave func()) {
	staying := false // for writes that need the file that is served here
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			<-done
			return
		case <-f.Signals:
		}
		if f.cancelling.Load() { // and some do not end
			leave()
			<-done
			return
		}
		choice := "l"
		if f.interactive() && !staying {
			choice = f.choose(ctx, done)
		}
		switch {
		case choice == "done":
		case choice == "c", choice == "l" && staying:
			beginNoMore()
			f.board.Printf("Cancelling the writes that run; their disks will not boot.")
			f.cancelAll(ctx)
		case choice == "l" && f.local != nil:
			beginNoMore()
			staying = true
			f.board.Printf("The writes that run are left running. This command serves their image, so it stays until they have ended; no other is begun. Interrupt again to cancel them.")
		case choice == "l":
			beginNoMore()
			leave()
			<-done
			f.board.Printf("The writes that run are left running.")
			return
		default:
			f.board.Printf("Going on.")
		}
	}
}

// choose asks what Ctrl-C means.
func (f *fleet) choose(ctx context.Context, done <-chan struct{}) string {
	f.board.Printf("Interrupted. Type c to CANCEL the writes (their disks will not boot), l to LEAVE them running and begin no other, or Enter to go on watching:")
	asking, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-done:
			stop()
		case <-asking.Done():
		}
	}()
	line, err := f.answer(asking)
	switch {
	case err == nil && line != "c" && line != "l":
		return ""
	case err == nil:
		return line
	case err == errInterrupted:
		return "l" // Ctrl-C twice
	case asking.Err() != nil:
		return "done"
	}
	return "l" // nobody answers
}

// cancelAll cancels what runs, and what is just being accepted.
func (f *fleet) cancelAll(ctx context.Context) {
	f.cancelling.Store(true)
	ctx, stop := context.WithTimeout(ctx, cancelTime)
	defer stop()
	var wg sync.WaitGroup
	for _, t := range f.tasks {
		wg.Go(func() { f.cancel(ctx, t) })
	}
	wg.Wait()
}
