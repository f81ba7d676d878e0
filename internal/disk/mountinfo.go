package disk

import (
	"strconv"
	"strings"
)

// mount is a line of /proc/self/mountinfo.
type mount struct {
	dev    uint64 // of the mounted file system; btrfs and others show a made-up one
	point  string
	source string
}

// parseMountinfo reads /proc/self/mountinfo (proc_pid_mountinfo(5)). A line has six
// fields, any number of optional ones, a lone "-", then type, source and options; so
// nothing behind the sixth can be found by its position from the left. Lines that are
// not like that are left out.
func parseMountinfo(text string) []mount {
	var out []mount
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		l, r := strings.Split(left, " "), strings.Split(right, " ")
		if !ok || len(l) < 6 || len(r) < 2 {
			continue
		}
		dev, ok := parseDev(l[2])
		if !ok {
			continue
		}
		out = append(out, mount{dev: dev, point: unescape(l[4]), source: unescape(r[1])})
	}
	return out
}

// unescape undoes the kernel's octal escapes (\040 for a space; mangle_path in fs/seq_file.c).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
