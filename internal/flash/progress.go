package flash

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/openseastack/netboot-imager/internal/source"
)

// Stages of a job. Wiping, writing and syncing are those of the service that this one
// replaces, and the percent bands are its too: 0–10, 10–95 and 95–100.
const (
	StageChecking = "checking" // nothing is changed yet
	StageWiping   = "wiping"
	StageWriting  = "writing"
	StageSyncing  = "syncing" // flushing, reading back, the first MiB
)

// bands are the percents at which the stages begin and end.
var bands = map[string][2]float64{
	StageChecking: {0, 0},
	StageWiping:   {0, 10},
	StageWriting:  {10, 95},
	StageSyncing:  {95, 100},
}

// What limits a write.
const (
	BottleneckNetwork    = "network"
	BottleneckDecompress = "decompress"
	BottleneckDisk       = "disk"
)

// Snapshot is a job's progress at one moment.
type Snapshot struct {
	Stage          string
	Message        string
	Percent        int   // 0..99; it never goes back
	PhaseBytes     int64 // durable (writing) or compared (reading back)
	TotalBytes     int64 // of the phase; 0 if unknown
	BytesPerSecond int64 // over the last seconds
	ETASeconds     int64 // of the phase; -1 if unknown
	Bottleneck     string
}

// Progress is a job's progress. The job stores into it and goes on; nobody who reads it
// can hold it up for longer than it takes to copy a Snapshot.
type Progress struct {
	// OnStage is called at each change of stage; set it before the job begins. It must
	// not block.
	OnStage func()

	now func() time.Time

	mu      sync.Mutex
	snap    Snapshot
	highest float64 // percent
	window  []point // samples of the last seconds, oldest first
	stats   counters
	last    time.Time
}

// counters are what a sample is made of. bytes are on the medium.
type counters struct {
	bytes, total    int64         // of the image; total -1 if unknown
	expected        int64         // guess of total, 0 if none
	taken, transfer int64         // of the download; transfer -1 if unknown
	starved         time.Duration // the decoder has waited for bytes
	receiving       time.Duration // the network has taken
	diskWait        time.Duration // the decoder has waited for a free block
	format          string        // source.Raw, …
}

// hint says what to do about a bottleneck; "" if nothing can be done in the image. Only
// these formats are decoded so slowly that others are worth packing an image anew for.
func hint(bottleneck, format string) string {
	if bottleneck != BottleneckDecompress {
		return ""
	}
	switch format {
	case source.Gzip, source.XZ, source.Bzip2:
		return "decompressing " + format + " takes most of the time: tools/repack makes an image of it that stations decode faster"
	}
	return ""
}

// point is a sample in the window for the rate.
type point struct {
	at       time.Time
	bytes    int64
	fraction float64
}

// rateWindow is the time over which the rate is taken.
const rateWindow = 10 * time.Second

// NewProgress returns a Progress with the clock now.
func NewProgress(now func() time.Time) *Progress {
	return &Progress{now: now, snap: Snapshot{ETASeconds: -1}}
}

// Snapshot returns the progress as it is now.
func (p *Progress) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.snap
}

// begin enters a stage, or a step of one.
func (p *Progress) begin(stage, message string) {
	p.mu.Lock()
	changed := stage != p.snap.Stage
	p.advance(bands[stage][0])
	p.snap = Snapshot{Stage: stage, Message: message, Percent: int(p.highest), ETASeconds: -1, Bottleneck: p.snap.Bottleneck}
	p.window, p.stats, p.last = nil, counters{}, p.now()
	p.mu.Unlock()
	if changed && p.OnStage != nil {
		p.OnStage()
	}
}

// Note shows message until the next sample: something is in the way, but not for ever.
func (p *Progress) Note(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snap.Message = message
}

// advance raises the percent, which never goes back and is 100 only for a complete job.
func (p *Progress) advance(percent float64) {
	p.highest = math.Min(99, math.Max(p.highest, percent))
}

// sample takes the writing stage's counters.
func (p *Progress) sample(c counters) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snap.Bottleneck = bottleneck(c, p.stats, p.now().Sub(p.last), p.snap.Bottleneck)
	p.stats, p.last = c, p.now()
	p.measure(c.bytes, max(c.total, 0), c.fraction())
	if c.total > 0 {
		p.snap.Message = fmt.Sprintf("Wrote %s of %s", Size(c.bytes), Size(c.total))
	} else {
		p.snap.Message = fmt.Sprintf("Wrote %s", Size(c.bytes))
	}
	if h := hint(p.snap.Bottleneck, c.format); h != "" {
		p.snap.Message += "; " + h
	}
}

// compareTick is how often progress of reading back is worth a sentence.
const compareTick = 100 * time.Millisecond

// compared takes the progress of reading back.
func (p *Progress) compared(bytes, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if bytes < total && now.Sub(p.last) < compareTick {
		return
	}
	p.last = now
	p.snap.Message = fmt.Sprintf("Read back %s of %s", Size(bytes), Size(total))
	p.measure(bytes, total, float64(bytes)/float64(max(total, 1)))
}

// measure computes percent, rate and ETA from what is done of the stage.
func (p *Progress) measure(bytes, total int64, fraction float64) {
	now := p.now()
	p.window = append(p.window, point{now, bytes, fraction})
	for len(p.window) > 2 && now.Sub(p.window[0].at) > rateWindow {
		p.window = p.window[1:]
	}
	band := bands[p.snap.Stage]
	p.advance(band[0] + fraction*(band[1]-band[0]))
	p.snap.Percent = int(p.highest)
	p.snap.PhaseBytes, p.snap.TotalBytes = bytes, total

	first := p.window[0]
	if dt := now.Sub(first.at).Seconds(); dt > 0 {
		p.snap.BytesPerSecond = int64(float64(bytes-first.bytes) / dt)
		p.snap.ETASeconds = -1
		if df := fraction - first.fraction; df > 0 {
			p.snap.ETASeconds = int64(math.Ceil((1 - math.Min(fraction, 1)) / df * dt))
		}
	}
}

// fraction is how much of the image is on the medium, 0..1: by its size if that is known,
// else by how far the download had come when the last durable block was made.
func (c counters) fraction() float64 {
	part := func(n, of int64) float64 { return math.Min(1, float64(n)/float64(of)) }
	switch {
	case c.total > 0:
		return part(c.bytes, c.total)
	case c.transfer > 0:
		return part(c.taken, c.transfer)
	case c.expected > 0:
		return part(c.bytes, c.expected)
	}
	return 0
}

// bottleneck names what took most of the last interval: receiving, decoding, or waiting
// for the disk to free a block. A decoder that is fast enough for the network may
// decode for longer than it waits; that bytes are received all the time tells that the
// network is what is slow.
func bottleneck(now, before counters, interval time.Duration, last string) string {
	if interval <= 0 {
		return last
	}
	network, disk := now.receiving-before.receiving, now.diskWait-before.diskWait
	decode := interval - (now.starved - before.starved) - disk
	switch {
	case now.format != source.Raw && decode > network && decode > disk:
		return BottleneckDecompress
	case network > disk:
		return BottleneckNetwork
	}
	return BottleneckDisk
}
