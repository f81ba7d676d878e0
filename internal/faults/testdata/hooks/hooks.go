// Package mutant is put into stations by the overlay of a test: it has them do what no
// request can have a station do. It is in no program that anybody uses.
package mutant

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"syscall"
)

// hog is memory that is not given back.
var hog [][]byte

// Hook does what a path under /test says, and reports whether it was one.
func Hook(w http.ResponseWriter, r *http.Request, reboot func() error) bool {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	switch r.URL.Path {
	case "/test/crash":
		go func() { panic("crashed by a test") }()
	case "/test/reboot": // as gokrazy's own /reboot, without asking the imager
		go reboot()
	case "/test/eat": // n MiB
		for range n {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			hog = append(hog, b)
		}
	case "/test/clock": // to n seconds after 1970, as gokrazy's NTP client does
		if err := syscall.Settimeofday(&syscall.Timeval{Sec: int64(n)}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return true
		}
	case "/test/pid":
	default:
		return false
	}
	fmt.Fprintln(w, os.Getpid())
	return true
}
