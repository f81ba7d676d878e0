package flash

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// niceOf returns the nice value of the thread that calls it.
func niceOf(t *testing.T) int {
	t.Helper()
	n, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
	if err != nil {
		t.Error(err)
	}
	return 20 - n // as the kernel gives it
}

// TestHasten checks that only the goroutine that asks for it comes first, and no other
// inherits its thread.
func TestHasten(t *testing.T) {
	want := decoderNice
	if os.Getuid() != 0 {
		want = 0 // not permitted, and nothing is lost
	}
	got := make(chan int)
	for range 20 {
		go func() {
			hasten()
			got <- niceOf(t)
		}()
		if n := <-got; n != want {
			t.Errorf("the nice value is %d, want %d", n, want)
		}
		for range 4 {
			go func() { got <- niceOf(t) }()
		}
		for range 4 {
			if n := <-got; n != 0 {
				t.Errorf("another goroutine's nice value is %d, want 0", n)
			}
		}
	}
}
