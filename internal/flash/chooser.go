package flash

import (
	"sync"
	"time"
)

// What a job can do about blocks that may be on the disk already.
const (
	Overwrite = "overwrite" // write all
	Compare   = "compare"   // read first, write what differs
)

const (
	trials     = 4  // blocks of data that are looked at first
	timedTries = 2  // of those, equal ones of which a MiB is written all the same, to measure that
	probeEvery = 16 // while blocks are not compared, one of so many is looked at
)

// Choice is what came of comparing before writing. Rates are in bytes per second, 0 if
// not measured.
type Choice struct {
	Chosen         string `json:"chosen"`                           // Compare or Overwrite: what most blocks of data were written by
	ReadRate       int64  `json:"read_bytes_per_second,omitempty"`  // of the blocks that were measured
	WriteRate      int64  `json:"write_bytes_per_second,omitempty"` // of the blocks that were measured
	ComparedBytes  int64  `json:"compared_bytes"`                   // read from the disk to be compared
	UnchangedBytes int64  `json:"unchanged_bytes"`                  // of those, equal and not written
}

// rate is a number of bytes and the time that they took.
type rate struct {
	bytes int64
	took  time.Duration
}

func (r *rate) add(n int, took time.Duration) { r.bytes, r.took = r.bytes+int64(n), r.took+took }

// cost is the time for a byte in seconds, 0 if unknown.
func (r rate) cost() float64 {
	if r.bytes == 0 {
		return 0
	}
	return max(r.took.Seconds(), 1e-9) / float64(r.bytes)
}

func (r rate) perSecond() int64 {
	if c := r.cost(); c > 0 {
		return int64(1 / c)
	}
	return 0
}

// chooser decides block by block whether it pays to read what is on the disk before it is
// written: it does as long as what equal blocks save is more than what reading costs. An
// equal block saves its writing and, if the disk is read back, the reading back, too.
type chooser struct {
	verify bool

	mu        sync.Mutex
	read      rate
	write     rate
	timed     int     // equal blocks that were written to be measured
	seen      int     // blocks of data that were looked at
	hits      float64 // share of equal blocks lately, 0..1
	skipped   int     // blocks since one was looked at
	compare   int     // blocks of data by what was chosen for them
	overwrite int
	compared  int64
	unchanged int64
}

// look says how much of a block of data to compare: nothing, a first piece (and the rest
// if that is equal), or all at once.
func (c *chooser) look() (first, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen < trials {
		return true, false
	}
	if c.gains() {
		c.compare++
		return false, true
	}
	c.overwrite++
	if c.skipped++; c.skipped >= probeEvery {
		c.skipped = 0
		return true, false
	}
	return false, false
}

// pays reports whether comparing pays.
func (c *chooser) pays() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gains()
}

// gains does it with the mutex held. Without trials nothing is known.
func (c *chooser) gains() bool {
	saved := c.write.cost()
	if c.verify {
		saved += c.read.cost()
	}
	return c.hits*saved > c.read.cost()
}

// decided takes what came of looking at a block. A probe that hits stands for those
// around it.
func (c *chooser) decided(equal bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hit := 0.0
	if equal {
		hit = 1
	}
	switch {
	case c.seen < trials:
		c.hits = (c.hits*float64(c.seen) + hit) / float64(c.seen+1)
		if equal {
			c.compare++
		} else {
			c.overwrite++
		}
	case equal && c.hits < 0.5:
		c.hits = 1
	default:
		c.hits = (3*c.hits + hit) / 4
	}
	c.seen++
}

// measure reports whether an equal block should be written in part, so that it is known
// what writing costs.
func (c *chooser) measure() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed >= timedTries || c.write.bytes >= timedTries*zeroUnit {
		return false
	}
	c.timed++
	return true
}

func (c *chooser) didRead(n int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.add(n, took)
	c.compared += int64(n)
}

func (c *chooser) didWrite(n int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write.add(n, took)
}

func (c *chooser) kept(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unchanged += int64(n)
}

// choice is what the receipt says.
func (c *chooser) choice() *Choice {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &Choice{Chosen: Overwrite, ReadRate: c.read.perSecond(), WriteRate: c.write.perSecond(), ComparedBytes: c.compared, UnchangedBytes: c.unchanged}
	if c.compare > c.overwrite {
		r.Chosen = Compare
	}
	return r
}
