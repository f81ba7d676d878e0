package faults

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

var (
	full      = flag.Bool("full", false, "run everything, not samples of the sweeps")
	withPeers = flag.Bool("peers", false, "do the same to other tools, which -full does too")
	page      = flag.Bool("page", false, "write docs/faults.md from what was run; with -run, only the groups that were run are new")
)

// scratch is a directory for what all tests share.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	flag.Parse()
	// Most rows wait most of the time: for a stall to be noticed, for a server to come back.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	// Proxies that the machine may have configured are no part of any row.
	for _, name := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		os.Unsetenv(name)
	}
	dir, err := os.MkdirTemp("", "netboot-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	scratch = dir
	code := m.Run()
	if *page && code == 0 {
		if err := writePage("../../build/faults", "../../docs/faults.md"); err != nil {
			fmt.Fprintln(os.Stderr, "the page:", err)
			return 1
		}
	}
	return code
}

// program is the imager, built as for a station but for this machine.
var program = sync.OnceValues(func() (string, error) {
	return build("imager", []string{"CGO_ENABLED=0"})
})

// build builds the imager of this checkout under a name in scratch.
func build(name string, env []string, flags ...string) (string, error) {
	bin := filepath.Join(scratch, name)
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", bin}, flags...)
	cmd := exec.Command("go", append(args, "../../imager")...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return bin, nil
}

// need returns what build made.
func need(t testing.TB, built func() (string, error)) string {
	t.Helper()
	flashtest.NeedRoot(t)
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// matrix runs rows as subtests and records what came of them.
func matrix(t *testing.T, group string, rows []row) {
	bin := binary{path: need(t, program)}
	slots := recordSlots(group, len(rows))
	for i := range rows {
		r := &rows[i]
		slots[i].Fault = r.fault
		t.Run(r.fault, func(t *testing.T) {
			t.Parallel()
			o := r.run(t, bin)
			if o.problem != nil {
				t.Fatal(o.problem)
			}
			slots[i].fill(r.fault, o)
			t.Logf("%d %s; %s; %.1f s", o.status, o.answer.sentence(), o.after, o.took.Seconds())
			if r.peers && (*full || *withPeers) {
				slots[i].Peers = r.runPeers(t)
			}
		})
	}
}

// sometimes is n in a full run, and sample otherwise.
func sometimes(sample, n int) int {
	if *full {
		return n
	}
	return sample
}
