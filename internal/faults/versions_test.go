package faults

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
)

// command runs a program and returns the first line that it prints.
func command(program string, args ...string) (string, error) {
	out, err := exec.Command(program, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), nil
}

// toolVersions says what the rows were run with.
func toolVersions() (string, error) {
	var b strings.Builder
	b.WriteString("Run with: " + runtime.Version() + ", " + runtime.GOARCH)
	for _, c := range [][]string{
		{"uname", "-sr"}, {"curl", "--version"}, {"gzip", "--version"}, {"dd", "--version"}, {"bmaptool", "--version"},
		{"xz", "--version"}, {"zstd", "--version"}, {"sfdisk", "--version"}, {"blkid", "--version"}, {"qemu-system-aarch64", "--version"},
	} {
		line, err := command(c[0], c[1:]...)
		if err != nil {
			return "", err
		}
		if line, _, _ = strings.Cut(line, " ("); len(line) > 60 {
			line = line[:60]
		}
		b.WriteString("; " + strings.Trim(line, "* "))
	}
	return b.String() + ".\n", nil
}
