package faults

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// invariants are what holds for every row, whatever goes wrong:
//
//   - success is said only over a disk that holds the image, with the image's own
//     SHA-256 in the receipt;
//   - a disk that a firmware or a kernel would start holds the image or the old system, never
//     something in between;
//   - what the sentence says of the disk is true;
//   - GET /status says the same as the answer;
//   - the token is neither in an answer nor in the log, and nothing panicked or raced.
func invariants(o *outcome, st status) error {
	said := o.answer.sentence()
	switch {
	case o.answer.Success != (o.status == 200):
		return fmt.Errorf("status %d with success %v", o.status, o.answer.Success)
	case o.answer.Success && o.after != whole:
		return fmt.Errorf("FALSE SUCCESS: the disk is %s", o.after)
	case o.answer.Success && o.answer.Receipt.SHA256 != flashtest.SHA256(o.image):
		return fmt.Errorf("the receipt's sha256 is %s, the image's %s", o.answer.Receipt.SHA256, flashtest.SHA256(o.image))
	case o.after == corrupt:
		return fmt.Errorf("the disk looks whole and is not the image")
	case strings.Contains(said, "left not bootable") && o.after != cleared:
		return fmt.Errorf("the sentence says that the disk is left not bootable, and it is %s", o.after)
	case strings.Contains(said, "was not changed") && o.after != unchanged:
		return fmt.Errorf("the sentence says that the disk was not changed, and it is %s", o.after)
	case strings.Count(said, " ") < 2 && said != "Invalid token" && !strings.HasPrefix(said, "Unauthorized IP: "): // the old service's words
		return fmt.Errorf("%q is no sentence", said)
	}
	if err := sameStory(o, st); err != nil {
		return err
	}
	return o.imager.clean()
}

// sameStory compares GET /status with the answer. A refusal leaves /status alone.
func sameStory(o *outcome, st status) error {
	switch {
	case st.Stage == "":
		return nil // not asked
	case o.answer.Success && st.Stage != "complete":
		return fmt.Errorf("GET /status says %q after a success", st.Stage)
	case !o.answer.Success && st.Stage == "complete" && o.after != whole: // of another write, which succeeded
		return fmt.Errorf("GET /status says complete after %q", o.answer.Error)
	case st.Stage == "error" && (st.Error == nil || *st.Error != o.answer.Error):
		return fmt.Errorf("GET /status says %v, the answer said %q", st.Error, o.answer.Error)
	}
	return nil
}

// alarms are what must not be in a log.
var alarms = regexp.MustCompile(`BUG|panic|DATA RACE|goroutine \d+ \[|` + token)

// clean looks for alarms in the imager's log.
func (im *imager) clean() error {
	if found := alarms.FindString(im.log()); found != "" {
		return fmt.Errorf("the imager's log has %q", found)
	}
	return nil
}
