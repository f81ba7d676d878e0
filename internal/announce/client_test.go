package announce

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// boot is a boot server that notes what is announced.
type boot struct {
	mu     sync.Mutex
	got    []Announcement
	token  string
	answer func(n int, a Announcement) (int, Reply)
	came   chan struct{}
}

func (b *boot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a Announcement
	if r.URL.Path != Path || r.Method != "POST" || json.NewDecoder(r.Body).Decode(&a) != nil {
		w.WriteHeader(400)
		return
	}
	b.mu.Lock()
	b.got = append(b.got, a)
	b.token = r.Header.Get("X-Netboot-Token")
	code, reply := b.answer(len(b.got), a)
	b.mu.Unlock()
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(reply)
	b.came <- struct{}{}
}

func all(a Announcement) (r Reply) {
	for _, receipt := range a.Receipts {
		r.Receipts = append(r.Receipts, jobOf(receipt))
	}
	return r
}

func start(t *testing.T, answer func(int, Announcement) (int, Reply), receipts ...string) (*boot, *Client, chan struct{}) {
	t.Helper()
	b := &boot{answer: answer, came: make(chan struct{}, 100)}
	srv := httptest.NewServer(b)
	changed := make(chan struct{})
	c := &Client{
		Server: srv.URL + "/api/bootstrap/imager-config", Token: "example-token",
		Describe: func() Announcement {
			a := Announcement{Serial: "1234"}
			for _, job := range receipts {
				a.Receipts = append(a.Receipts, json.RawMessage(fmt.Sprintf(`{"job":%q}`, job)))
			}
			return a
		},
		Busy: func() bool { return false }, Changed: changed, Logf: t.Logf,
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return b, c, changed
}

func (b *boot) wait(t *testing.T) {
	t.Helper()
	select {
	case <-b.came:
	case <-time.After(20 * time.Second):
		t.Fatal("no announcement")
	}
}

func TestAnnounce(t *testing.T) {
	b, _, changed := start(t, func(_ int, a Announcement) (int, Reply) { return 200, all(a) })
	b.wait(t)
	changed <- struct{}{}
	b.wait(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.got[0].Serial != "1234" || b.token != "example-token" {
		t.Errorf("announced %+v with token %q", b.got[0], b.token)
	}
}

// TestReceipts has more receipts than one announcement carries, and a server that is down
// at first: each arrives, the oldest first, and none twice.
func TestReceipts(t *testing.T) {
	jobs := []string{"g", "f", "e", "d", "c", "b", "a"} // newest first
	b, c, changed := start(t, func(n int, a Announcement) (int, Reply) {
		if n == 1 {
			return 500, Reply{}
		}
		return 200, all(a)
	}, jobs...)
	b.wait(t)
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	changed <- struct{}{}
	b.mu.Lock()
	defer b.mu.Unlock()
	var got []string
	for _, a := range b.got[1:] {
		got = append(got, all(a).Receipts...)
	}
	if want := []string{"a", "b", "c", "d", "e", "f", "g"}; !slices.Equal(got, want) {
		t.Errorf("receipts %q, want %q", got, want)
	}
}

// TestFlushGivesUp does not hold a reboot up for ever.
func TestFlushGivesUp(t *testing.T) {
	b, c, _ := start(t, func(int, Announcement) (int, Reply) { return 200, Reply{} }, "a")
	b.wait(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Flush(ctx); err == nil {
		t.Error("Flush returned although no receipt arrived")
	}
}

func TestStranger(t *testing.T) {
	b, c, _ := start(t, func(int, Announcement) (int, Reply) { return 404, Reply{} }, "a")
	b.wait(t)
	if err := c.Flush(t.Context()); err != nil {
		t.Error(err) // there is nobody to wait for
	}
}
