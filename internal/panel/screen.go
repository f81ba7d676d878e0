package panel

import (
	"fmt"
	"strings"
	"time"

	"github.com/openseastack/netboot-imager/internal/flash"
)

// Control sequences of the Linux console: console_codes(4).
const (
	home       = "\x1b[H"
	eraseLine  = "\x1b[K" // to its end
	eraseBelow = "\x1b[J"
	hideCursor = "\x1b[?25l"
	neverBlank = "\x1b[9;0]"
	normal     = "\x1b[0m"
)

// colours of the headline.
var colours = map[mood]string{
	starting: "\x1b[30;43m", idle: "\x1b[37;44m", working: "\x1b[37;44m", done: "\x1b[30;42m", failed: "\x1b[1;37;41m",
}

// Screen is the view as a whole screen of so many columns, to be written over the last.
func Screen(v View, columns int) string {
	columns = max(min(columns, 120), 30)
	var b strings.Builder
	b.WriteString(hideCursor + neverBlank + home + normal)
	line := func(s string) { b.WriteString(s + eraseLine + "\r\n") }
	text := func(s string) {
		for _, l := range wrap(s, columns-4) {
			line("  " + l)
		}
	}
	line("")
	text(v.Name)
	if v.Address != "" {
		text(v.Address)
	} else {
		text("no network address yet")
	}
	text(v.Machine)
	text("netboot-imager " + v.Version)
	line("")
	word, rest := v.headline()
	line("  " + colours[v.mood()] + "  " + word + "  " + normal)
	line("")
	if v.mood() == working {
		line("  " + bar(v.Status.Percent, columns-4))
		line("")
	}
	for _, s := range rest {
		text(s)
	}
	b.WriteString(eraseBelow)
	return b.String()
}

// headline is the view in a word, and what there is to say about it.
func (v View) headline() (word string, rest []string) {
	st := v.Status
	switch v.mood() {
	case starting:
		return "STARTING", []string{v.Starting}
	case idle:
		return "READY", []string{"Nothing has been written since this station was switched on."}
	case done:
		rest = []string{st.Device + " carries the image."}
		if r := st.Receipt; r != nil && r.Receipt != nil {
			rest = append(rest, r.Image, r.Summary())
		}
		return "DONE", rest
	case failed:
		if st.Error != nil {
			rest = append(rest, *st.Error)
		}
		return "FAILED", append(rest, st.ImageURL)
	}
	rest = []string{st.Message}
	if st.BytesPerSecond > 0 {
		rate := flash.Size(st.BytesPerSecond) + "/s"
		if st.ETASeconds != nil {
			rate += fmt.Sprintf(", %v left", time.Duration(*st.ETASeconds)*time.Second)
		}
		if st.Bottleneck != "" {
			rate += ", limited by: " + st.Bottleneck
		}
		rest = append(rest, rate)
	}
	return strings.ToUpper(plain(st.Stage)), append(rest, "to "+st.Device, "from "+st.ImageURL)
}

// bar is a bar of so many columns.
func bar(percent, columns int) string {
	inner := columns - len("[] 100 %")
	full := inner * min(max(percent, 0), 100) / 100
	return fmt.Sprintf("[%s%s] %3d %%", strings.Repeat("#", full), strings.Repeat(" ", inner-full), percent)
}

// plain keeps what every console font has, and no control characters: an image's URL or a
// disk's name must not move the cursor.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
}

// wrap breaks s into lines of at most so many characters, at spaces if there are some.
func wrap(s string, columns int) (lines []string) {
	for s = strings.TrimSpace(plain(s)); len(s) > columns; {
		at := strings.LastIndexByte(s[:columns+1], ' ')
		if at <= 0 {
			at = columns
		}
		lines = append(lines, s[:at])
		s = strings.TrimLeft(s[at:], " ")
	}
	if s != "" {
		lines = append(lines, s)
	}
	return lines
}
