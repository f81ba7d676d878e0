package faults

import (
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// crashRows are deaths of the program at a moment that is known.
var crashRows = []row{
	{
		fault: "kill -9 in mid-write; started again, GET /status tells of it", serve: func(t testing.TB, s *flashtest.Server) { s.Slow = 20 * time.Millisecond },
		ask:    killWhile(writing),
		status: 0, says: "the service was restarted in the middle of job", after: cleared,
	}, {
		fault: "kill -9 while it looks at the image; started again, GET /status tells of it", serve: func(t testing.TB, s *flashtest.Server) { s.Stall = 1000 }, config: map[string]any{"stall_timeout": "1m"},
		ask:    killWhile(func(s status) bool { return s.Stage == "checking" }),
		status: 0, says: "was not changed", after: unchanged,
	},
}

// TestCrash: the program dies.
func TestCrash(t *testing.T) {
	matrix(t, power, crashRows)
}

// killWhile kills the imager at a moment of the write, starts it again, and returns what GET
// /status says then.
func killWhile(moment func(status) bool) func(testing.TB, *scene) (int, answer, error) {
	return func(t testing.TB, s *scene) (int, answer, error) {
		go s.write() // its answer never comes
		if err := s.im.await(moment); err != nil {
			return 0, answer{}, err
		}
		s.im.kill()
		s.im = launch(t, s.bin, s.dir, s.im.port)
		st, err := s.im.status()
		if err != nil {
			return 0, answer{}, err
		}
		a := answer{Message: st.Message}
		if st.Error != nil {
			a.Error = *st.Error
		}
		return 0, a, nil
	}
}
