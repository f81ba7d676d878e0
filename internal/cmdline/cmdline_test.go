package cmdline

import (
	"strings"
	"testing"
)

func TestGet(t *testing.T) {
	tests := []struct {
		line, name, want string
		ok               bool
	}{
		{"", "root", "", false},
		{"console=tty1 root=/dev/loop0p2 panic=10", "root", "/dev/loop0p2", true},
		{"root=/dev/mmcblk0p2 root=/dev/nvme0n1p2\n", "root", "/dev/nvme0n1p2", true},
		{"root=PARTUUID=60c24cc1-02/PARTNROFF=1", "root", "PARTUUID=60c24cc1-02/PARTNROFF=1", true},
		{"xroot=/dev/sda rootwait", "root", "", false},
		{"quiet", "quiet", "", true},
		{`imager.config_url="http://10.0.0.1/a b"`, "imager.config_url", "http://10.0.0.1/a b", true},
		{`"imager.config_url=http://10.0.0.1/a b"`, "imager.config_url", "http://10.0.0.1/a b", true},
		{"a=1 -- root=/dev/sda", "root", "", false},
	}
	for _, tt := range tests {
		got, ok := Get(tt.line, tt.name)
		if got != tt.want || ok != tt.ok {
			t.Errorf("Get(%q, %q) = %q, %v, want %q, %v", tt.line, tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzGet(f *testing.F) {
	for _, s := range []string{"", "a", "a=b", `a="b c" d`, `"a=b c"`, "root=/dev/sda -- x=y", "\x00=\x00", `"`} {
		f.Add(s, "a")
	}
	f.Fuzz(func(t *testing.T, line, name string) {
		v, ok := Get(line, name)
		if !ok && v != "" {
			t.Errorf("Get(%q, %q) found nothing but returned %q", line, name, v)
		}
		if strings.Contains(v, `"`) {
			t.Errorf("Get(%q, %q) = %q keeps a quote", line, name, v)
		}
		if name == "" || strings.ContainsAny(name, "= \t\n\r\v\f\"\x00") || name == "--" {
			return
		}
		// What is put in front of a line is found in it, unless the line itself says otherwise.
		if got, ok := Get(name+"=x "+line, name); !ok || (got != "x" && got != v) {
			t.Errorf("Get(%q) = %q, %v, want x or %q", name+"=x "+line, got, ok, v)
		}
	})
}
