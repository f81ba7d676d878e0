// Package stopwatch adds up the time that a goroutine waits.
package stopwatch

import (
	"sync"
	"time"
)

// Stopwatch adds up the time between Start and Stop, which one goroutine calls in turn. Any
// may read it meanwhile. The zero value has measured nothing.
type Stopwatch struct {
	mu    sync.Mutex
	sum   time.Duration // of the waits that are over
	since time.Time     // when the present one began; zero if there is none
}

// Start begins a wait.
func (s *Stopwatch) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
}

// Stop ends it.
func (s *Stopwatch) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum += time.Since(s.since)
	s.since = time.Time{}
}

// Elapsed is the sum of all waits, with what has passed of the present one: who looks every
// second must not see nothing in a wait of a minute, and the minute after it.
func (s *Stopwatch) Elapsed() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return s.sum
	}
	return s.sum + time.Since(s.since)
}
