package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// TestRun types commands and reads what they print. Standard error is no terminal here.
func TestRun(t *testing.T) {
	img := flashtest.Image(5<<20, 1)
	dir := t.TempDir()
	in := filepath.Join(dir, "os.img.xz")
	text := filepath.Join(dir, "text")
	for name, data := range map[string][]byte{in: flashtest.Compress(t, "xz", img), text: []byte("hello\n")} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		args                string
		stdout, stderr, err string // regular expressions, in this order
	}{
		{in, `os\.img\.gz: \d+ bytes \(from \d+ as xz\), decoded again and equal to the original\n.*os\.img\.gz\.sha256: sha256 ` + flashtest.SHA256(img) + ` of the decompressed image \(5242880 bytes\)\n$`,
			`os\.img\.xz: packing \d+%\n(.*\n)*.*os\.img\.xz: checking \d+%\n(.*\n)*.*os\.img\.xz: done 100%\n$`, ``},
		{in, `^$`, `^$`, `os\.img\.gz exists; have it replaced by -replace`},
		{"-format zstd -level fast -replace -o " + in + " " + in, `os\.img\.xz: \d+ bytes`, ``, ``},
		{"-o " + text + ".gz " + text, `^$`, `^$`, `not a disk image: it is a text; stations refuse to write it\. With -force`},
		{"-force -o " + text + ".gz " + text, `text\.gz: \d+ bytes`, `warning: not a disk image: it is a text; stations write it only with "force": true`, ``},
		{"", `^$`, `^$`, `give one image, not 0`},
		{in + " -replace", `^$`, `^$`, `give one image, not 2 \(flags come first\)`},
		{dir + "/missing", `^$`, `^$`, `missing: no such file`},
		{"-help", `^$`, `Usage: repack(.*\n)*.*-replace`, `help requested`},
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		err := run(t.Context(), strings.Fields(tt.args), &stdout, &stderr)
		said := ""
		if err != nil {
			said = err.Error()
		}
		for _, c := range []struct{ what, got, want string }{{"stdout", stdout.String(), tt.stdout}, {"stderr", stderr.String(), tt.stderr}, {"error", said, tt.err}} {
			if !regexp.MustCompile(c.want).MatchString(c.got) || c.want == "" && c.what == "error" && c.got != "" {
				t.Errorf("repack %s: %s is %q, want %q", tt.args, c.what, c.got, c.want)
			}
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(stopped, []string{"-o", text + ".2", in}, os.Stdout, new(bytes.Buffer)); err == nil || err.Error() != "stopped; nothing was changed" {
		t.Errorf("stopped: %v", err)
	}
}
