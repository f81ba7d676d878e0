package stopwatch

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Stopwatch
		check := func(want time.Duration) {
			t.Helper()
			if got := s.Elapsed(); got != want {
				t.Errorf("Elapsed = %v, want %v", got, want)
			}
		}
		check(0)
		s.Start()
		time.Sleep(time.Minute)
		check(time.Minute) // in the middle of a wait
		time.Sleep(time.Minute)
		s.Stop()
		time.Sleep(time.Hour)
		check(2 * time.Minute)
		s.Start()
		time.Sleep(time.Second)
		check(2*time.Minute + time.Second)
	})
}
