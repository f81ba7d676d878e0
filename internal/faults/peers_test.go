package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A peer is another way to write an image that is on an HTTP server to a disk.
type peer struct {
	name    string                               // the page's column
	command func(url, format, dev string) string // for sh -c
	suffix  bool                                 // it goes by the URL's suffix
}

// peers are given what a user would give them. What the service that this one replaces ran is the
// first, word for word but for the decompressor, which it chose by the URL's suffix.
var peers = []peer{
	{
		name: "curl, gunzip, dd",
		command: func(url, format, dev string) string {
			return fmt.Sprintf("curl -s '%s' %s| dd of=%s bs=4M conv=fsync", url, map[string]string{
				"raw": "", "gzip": "| gunzip ", "pigz": "| gunzip ", "bgzip": "| gunzip ", "xz": "| xz -d ", "zstd": "| zstd -d ", "bzip2": "| bunzip2 ",
			}[format], dev)
		},
	},
	{
		name: "bmaptool copy",
		command: func(url, format, dev string) string {
			return fmt.Sprintf("bmaptool copy --nobmap '%s' %s", url, dev)
		},
		suffix: true,
	},
}

// suffixes are those that people give to images.
var suffixes = map[string]string{
	"raw": ".img", "gzip": ".img.gz", "pigz": ".img.gz", "bgzip": ".img.gz", "xz": ".img.xz", "zstd": ".img.zst", "bzip2": ".img.bz2",
}

// peerPatience is how long a peer may take. Most have no limit of their own.
const peerPatience = 30 * time.Second

// runPeers does the same to the peers, each with a server and a disk of its own.
func (r *row) runPeers(t *testing.T) map[string]string {
	t.Helper()
	said := map[string]string{}
	for _, p := range peers {
		img, sent := r.sample(t)
		s := r.server(t, sent, loopback)
		d := r.target(t)
		format := r.format
		if format == "" {
			format = "raw"
		}
		url := s.URL()
		if r.url != nil {
			url = r.url(t, s)
		}
		if p.suffix {
			url += suffixes[format]
		}
		end := runPeer(t, p.command(url, format, d.dev))
		after, _ := d.examine(t, img)
		said[p.name] = end + "; " + peerDisk(after)
	}
	return said
}

// runPeer runs a shell command and says how it ended.
func runPeer(t testing.TB, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), peerPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	t.Logf("%s: %v\n%s", command, err, out.Bytes())
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Sprintf("no end within %v", peerPatience)
	case err == nil:
		return "exit status 0"
	case errors.As(err, &exit):
		return fmt.Sprintf("exit status %d", exit.ExitCode())
	}
	t.Fatal(err)
	return ""
}

// peerDisk says what a peer left.
func peerDisk(s state) string {
	if s == corrupt {
		return "**a disk that looks whole and is not**"
	}
	return string(s)
}
