package operator

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/openseastack/netboot-imager/internal/client"
)

// advice is what to do about a failure, where its own words do not say it.
func (f *fleet) advice(t *task, err error) string {
	var refused *client.Error
	name := t.station.Name
	switch {
	case t.Result == resultRunning, is[*client.LostError](err):
		return "see how it goes: flash status --station " + name
	case t.Result == resultSkipped:
		return "write it later"
	case is[*client.OtherJobError](err), t.Result == resultUnknown:
		return "look at it: flash receipts --station " + name + "; if this write is not among them, write it again"
	case is[*client.UnreachableError](err):
		return "check the station's power and cable, and its address (flash discover lists those that answer)"
	case errors.As(err, &refused):
		return adviceFor(refused)
	case t.Result == resultCancelled:
		return "write it again"
	}
	return ""
}

// adviceFor is what to do about a refusal.
func adviceFor(e *client.Error) string {
	switch {
	case strings.HasPrefix(e.Message, "Unauthorized IP"):
		return "add this machine's address, as the station sees it, to allowed_ips in the station's config"
	case e.Status == http.StatusForbidden && e.Message == "Invalid token":
		return "set $NETBOOT_TOKEN, or the file of --token-file, to shared_secret of the station's config"
	}
	return ""
}

func is[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// summary is the JSON of flash write.
type summary struct {
	Good      int     `json:"good"`
	NotGood   int     `json:"not_good"`
	DryRun    bool    `json:"dry_run,omitempty"`
	SameImage bool    `json:"same_image"` // all that are good carry the same one
	Stations  []*task `json:"stations"`
}

// report prints the summary, the verdict last. Its error says that not all is good.
func (f *fleet) report() error {
	s := summary{DryRun: f.opt.dryRun, SameImage: true, Stations: f.tasks}
	numbers, first := map[string]int{}, ""
	for _, t := range f.tasks {
		numbers[t.Result]++
		if t.Result == resultGood && t.Receipt != nil {
			first = cmp.Or(first, t.Receipt.ImageSHA256)
			s.SameImage = s.SameImage && t.Receipt.ImageSHA256 == first
		}
	}
	s.Good, s.NotGood = numbers[resultGood], len(f.tasks)-numbers[resultGood]
	if f.json {
		if err := f.printJSON(s); err != nil {
			return err
		}
	} else {
		f.print(s)
	}
	var parts []string
	for _, result := range []string{resultFailed, resultCancelled, resultUnknown, resultRunning, resultSkipped} {
		if n := numbers[result]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, result))
		}
	}
	switch {
	case s.NotGood > 0:
		return &NotGoodError{fmt.Sprintf("%d of %s not good: %s", s.NotGood, count(len(f.tasks), "station"), strings.Join(parts, ", "))}
	case !s.SameImage:
		return &NotGoodError{"the stations carry different images: the server's was replaced between two writes; give --sha256, and write again"}
	}
	return nil
}

// print prints the summary for people: first those that are good, then the others with
// reason and remedy, and the numbers last, where the eye is.
func (f *fleet) print(s summary) {
	w := f.Stdout
	var rows [][]string
	word, verb := "GOOD", "good"
	if f.opt.dryRun {
		word, verb = "WOULD", "could be written (dry run: nothing was)"
	}
	for _, t := range f.tasks {
		if t.Result == resultGood {
			rows = append(rows, []string{word, t.Station, t.Device, t.Message})
		}
	}
	table(w, rows)
	for _, t := range f.tasks {
		if t.Result == resultGood {
			continue
		}
		fmt.Fprintf(w, "%s  %s  %s\n", strings.ToUpper(t.Result), clean(t.Station), clean(t.Device))
		fmt.Fprintf(w, "  why:  %s\n", clean(t.Error))
		if t.Advice != "" {
			fmt.Fprintf(w, "  do:   %s\n", clean(t.Advice))
		}
	}
	if s.NotGood == 0 {
		fmt.Fprintf(w, "All of %s: %s.\n", count(s.Good, "station"), verb)
	} else {
		fmt.Fprintf(w, "%d of %s: %s. %d NOT.\n", s.Good, count(len(f.tasks), "station"), verb, s.NotGood)
	}
}
