package faults

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// TestLoad has 200 clients watch a write: half of them ask for /status twice a second, each at
// moments of its own, half hold /events. All must be answered, and the write must succeed.
// How fast it all was is for the page; no test depends on it.
func TestLoad(t *testing.T) {
	tests := []struct {
		name   string
		place  func(testing.TB) *place
		rounds int
	}{
		{"nothing but the processor is slow", func(testing.TB) *place { return loopback }, sometimes(1, 5)},
		{"a wire of 1 Gbit/s is slow", wired(1e9), sometimes(1, 3)},
	}
	slots := recordSlots(abuse, len(tests))
	for i, tt := range tests {
		slots[i].Fault = "200 clients watch a write, 100 on /status twice a second, 100 on /events; " + tt.name
		t.Run(tt.name, func(t *testing.T) { load(t, tt.place(t), tt.rounds, slots[i]) })
	}
}

// load measures writes alone and with clients, in turn, so that what else the machine does
// hits both.
func load(t *testing.T, at *place, rounds int, slot *record) {
	bin := binary{path: need(t, program)}
	img := largeImage(t)
	s := flashtest.ServeOn(t, img, at.listen(t))
	if !*full {
		s.Slow = time.Millisecond // a small image is written before all clients are there
	}
	d := largeDisk(t)
	const clients = 200
	write := func(watch bool) (time.Duration, *watched) {
		im := startIn(t, at, bin, t.TempDir(), d.dev, nil)
		defer im.stop(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := &watched{}
		var wg sync.WaitGroup
		if watch {
			for i := range clients {
				if i%2 == 0 {
					wg.Go(func() { w.poll(ctx, im, pollEvery*time.Duration(i)/clients) })
				} else {
					wg.Go(func() { w.listen(ctx, im) })
				}
			}
		}
		begin := time.Now()
		code, a, err := im.tryWrite(map[string]any{"device": d.dev, "image_url": s.URL()})
		took := time.Since(begin)
		cancel()
		wg.Wait()
		if err != nil || code != 200 {
			t.Fatalf("%d %s %v", code, a.raw, err)
		}
		if err := im.clean(); err != nil {
			t.Error(err)
		}
		return took, w
	}
	var alone, crowded []time.Duration
	var all watched
	for range rounds {
		d.reset(t)
		a, _ := write(false)
		d.reset(t)
		b, w := write(true)
		alone, crowded = append(alone, a), append(crowded, b)
		all.took, all.events = append(all.took, w.took...), all.events+w.events
		for _, err := range w.errs {
			t.Error(err)
		}
	}
	if len(all.took) < clients/2 || all.events < clients/2 {
		t.Errorf("%d answers and %d events for %d clients", len(all.took), all.events, clients)
	}
	slices.Sort(all.took)
	slices.Sort(alone)
	slices.Sort(crowded)
	p99 := all.took[len(all.took)*99/100]
	a, b := alone[rounds/2], crowded[rounds/2]
	says := fmt.Sprintf("%d answers to GET /status, p50 %.1f ms, p99 %.1f ms; %d events. The write of %d MiB took %.2f s, alone %.2f s (%+.1f %%, medians of %d), with the clients on the same two cores",
		len(all.took), ms(all.took[len(all.took)/2]), ms(p99), all.events, len(img)/mib, b.Seconds(), a.Seconds(), 100*(b.Seconds()/a.Seconds()-1), rounds)
	t.Log(says)
	after, _ := d.examine(t, img)
	if after != whole {
		t.Errorf("the disk is %s", after)
	}
	*slot = record{Fault: slot.Fault, Status: 200, Says: says, After: string(after), Took: b, Count: 2 * rounds}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// watched is what clients saw.
type watched struct {
	mu     sync.Mutex
	took   []time.Duration // of GET /status
	events int
	errs   []error
}

// pollEvery is how often a client asks for /status.
const pollEvery = 500 * time.Millisecond

// poll asks for /status, first after some time.
func (w *watched) poll(ctx context.Context, im *imager, first time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(first):
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		begin := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, im.base+"/status", nil)
		if err != nil {
			panic(err)
		}
		resp, err := im.client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("GET /status: %s", resp.Status)
			}
		}
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		if err != nil {
			w.errs = append(w.errs, err)
		} else {
			w.took = append(w.took, time.Since(begin))
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// listen holds /events.
func (w *watched) listen(ctx context.Context, im *imager) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, im.base+"/events", nil)
	if err != nil {
		panic(err)
	}
	resp, err := im.client.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			w.mu.Lock()
			w.errs = append(w.errs, err)
			w.mu.Unlock()
		}
		return
	}
	defer resp.Body.Close()
	n := 0
	for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
		if len(sc.Bytes()) > 5 {
			n++
		}
	}
	w.mu.Lock()
	w.events += n
	w.mu.Unlock()
}
