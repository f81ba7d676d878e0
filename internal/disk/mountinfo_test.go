package disk

import (
	"os"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseMountinfo(t *testing.T) {
	tests := []struct {
		line string
		want []mount
	}{
		{"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n", []mount{{unix.Mkdev(98, 0), "/mnt2", "/dev/root"}}},
		{"36 35 179:1 / /boot rw - vfat /dev/mmcblk0p1 rw\n", []mount{{unix.Mkdev(179, 1), "/boot", "/dev/mmcblk0p1"}}}, // no optional field
		{"36 35 179:1 / /boot rw shared:1 master:2 propagate_from:3 - vfat /dev/mmcblk0p1 rw\n", []mount{{unix.Mkdev(179, 1), "/boot", "/dev/mmcblk0p1"}}},
		{`36 35 0:5 / /a\040b\134 rw - tmpfs x\011y rw` + "\n", []mount{{unix.Mkdev(0, 5), `/a b\`, "x\ty"}}},
		{"", nil},
		{"\n", nil},
		{"36 35 x / / rw - ext4 /dev/sda rw\n", nil},
		{"36 35 8:0 / / rw ext4 /dev/sda rw\n", nil},
		{"36 35 8:0 / / - ext4 /dev/sda rw\n", nil},
		{"36 35 8:0 / / rw - ext4\n", nil},
	}
	for _, tt := range tests {
		if got := parseMountinfo(tt.line); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseMountinfo(%q) = %+v, want %+v", tt.line, got, tt.want)
		}
	}
	// Every line of the real thing is understood.
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, c := range text {
		if c == '\n' {
			lines++
		}
	}
	if got := len(parseMountinfo(string(text))); got != lines || got == 0 {
		t.Errorf("%d of %d real mounts were understood", got, lines)
	}
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
	f.Add(`1 2 3:4 / /a\040b rw - x \1 y`)
	f.Add(" - - - -\n")
	f.Fuzz(func(t *testing.T, text string) {
		parseMountinfo(text)
		if got := unescape(text); len(got) > len(text) {
			t.Errorf("unescape(%q) = %q is longer", text, got)
		}
	})
}
