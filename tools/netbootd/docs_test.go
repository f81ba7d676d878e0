package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

// TestDocs has netbootd know every command and flag that the pages show. What the commands
// do is tested with Pis, in internal/e2e.
func TestDocs(t *testing.T) {
	for _, page := range []string{"README.md", "docs/netbootd.md", "docs/flash-forty.md"} {
		text, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		shown := 0
		for line := range strings.Lines(string(text)) {
			_, args, ok := strings.Cut(line, "build/netbootd ")
			if !ok {
				continue
			}
			args, _, _ = strings.Cut(args, "#")
			args, _, _ = strings.Cut(args, "`")
			cmd, rest, err := command(io.Discard, io.Discard).Find(strings.Fields(args))
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err == nil {
				err = cmd.ValidateArgs(cmd.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s shows %q: %v", page, strings.TrimSpace(line), err)
			}
			shown++
		}
		if shown == 0 {
			t.Errorf("%s shows no command", page)
		}
	}
}
