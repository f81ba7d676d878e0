package station

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/google/renameio/v2"
	"github.com/openseastack/netboot-imager/internal/flash"
)

// remember stores st in the state file, so that a service that is killed and restarted
// can say what it left behind. A failure to store is logged and nothing more: the write
// itself matters more.
func (s *Server) remember(st Status) {
	if s.opt.StatePath == "" {
		return
	}
	b, err := json.Marshal(st)
	if err == nil {
		err = renameio.WriteFile(s.opt.StatePath, b, 0o600, renameio.WithStaticPermissions(0o600))
	}
	if err != nil {
		s.opt.Logf("the job's state cannot be stored in %s: %v", s.opt.StatePath, err)
	}
}

// restore returns the status to begin with: idle, the error of the last job, or that the
// service was restarted in the middle of one.
func (s *Server) restore() Status {
	idle := Status{Stage: StageIdle, Message: "Ready"}
	if s.opt.StatePath == "" {
		return idle
	}
	b, err := os.ReadFile(s.opt.StatePath)
	if errors.Is(err, fs.ErrNotExist) {
		return idle
	}
	var st Status
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	if err != nil {
		s.opt.Logf("the state file %s is of no use: %v", s.opt.StatePath, err)
		return idle
	}
	switch st.Stage {
	case StageIdle, StageComplete, "":
		return idle
	case StageError:
		return st
	}
	// Only the very last moment of a job leaves a disk that starts.
	left := fmt.Sprintf("The disk %s is most probably left not bootable; write it again", st.Device)
	if st.Stage == flash.StageChecking {
		left = fmt.Sprintf("The disk %s was not changed", st.Device)
	}
	text := fmt.Sprintf("the service was restarted in the middle of job %s, which was writing %s to %s. %s", st.Job, st.ImageURL, st.Device, left)
	now := time.Now()
	st.Stage, st.Message, st.Error, st.Finished = StageError, "Write interrupted by a restart", &text, &now
	s.opt.Logf("job %s: %s", st.Job, text)
	s.remember(st)
	return st
}
