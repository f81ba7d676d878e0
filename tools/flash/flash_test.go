package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/rogpeppe/go-internal/testscript"
)

// programs is a directory with the real flash and the real imager.
var programs string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "flash-test")
	if err != nil {
		panic(err)
	}
	programs = dir
	build := exec.Command("go", "build", "-o", dir+"/", ".", "../../imager")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// TestScripts runs the scenarios in testdata: the real command, and real imagers on
// loopback with disks in files.
func TestScripts(t *testing.T) {
	flashtest.NeedRoot(t) // for the gate
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", programs+":"+env.Getenv("PATH"))
			env.Setenv("NETBOOT_TOKEN", token)
			l := newLab(env.T().(testing.TB), env.WorkDir)
			env.Values[labKey{}] = l
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"image": cmdImage, "gate": cmdGate, "open": cmdOpen, "station": cmdStation, "cut": cmdCut, "mend": cmdMend,
			"await": cmdAwait, "holds": cmdHolds, "old": cmdOld, "zeros": cmdZeros, "restart": cmdRestart,
		},
	})
}

type labKey struct{}

func labOf(ts *testscript.TestScript) *lab { return ts.Value(labKey{}).(*lab) }

// image FILE MIB: makes a disk image, and its digest in $SHA256.
func cmdImage(ts *testscript.TestScript, neg bool, args []string) {
	var mib int
	fmt.Sscan(args[1], &mib)
	img := flashtest.Image(mib<<20, 1)
	ts.Setenv("SHA256", flashtest.SHA256(img))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), img, 0o600))
}

// gate FILE: of the file $GATED and of the same image at $URL, with FILE's content, only
// the first half can be read until the gate is opened.
func cmdGate(ts *testscript.TestScript, neg bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	l := labOf(ts)
	file, url := l.gate(b)
	ts.Setenv("GATED", file)
	ts.Setenv("URL", url)
}

// open: opens the gate.
func cmdOpen(ts *testscript.TestScript, neg bool, args []string) { labOf(ts).open() }

// station NAME MIB: starts an imager whose disk is NAME.img, at $NAME, port $NAME_PORT. flash reaches it
// through a proxy that can be cut.
func cmdStation(ts *testscript.TestScript, neg bool, args []string) {
	var mib int
	fmt.Sscan(args[1], &mib)
	addr := labOf(ts).station(args[0], mib)
	ts.Setenv(args[0], addr)
	ts.Setenv(args[0]+"_PORT", addr[strings.LastIndexByte(addr, ':')+1:])
}

// restart NAME: kills the imager, as a station that loses power, and starts it again with
// the memory of a station that runs from RAM.
func cmdRestart(ts *testscript.TestScript, neg bool, args []string) {
	s := labOf(ts).stations[args[0]]
	s.stop()
	ts.Check(os.RemoveAll(s.state))
	s.start()
}

// cut NAME: cuts the connections to a station, and returns when one was tried again.
func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	labOf(ts).stations[args[0]].proxy.cut()
}

// mend NAME: lets connections through again.
func cmdMend(ts *testscript.TestScript, neg bool, args []string) {
	labOf(ts).stations[args[0]].proxy.mend()
}

// await NAME TEXT: waits until GET /status of the station has TEXT.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(labOf(ts).stations[args[0]].await(args[1]))
}

// holds NAME FILE: the station's disk begins with FILE's content.
func cmdHolds(ts *testscript.TestScript, neg bool, args []string) {
	want, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	got := labOf(ts).stations[args[0]].content()
	if same := string(got[:min(len(got), len(want))]) == string(want); same == neg {
		ts.Fatalf("the disk of %s holds %s: %v", args[0], args[1], same)
	}
}

// old NAME: the station's disk is as it was at first.
func cmdOld(ts *testscript.TestScript, neg bool, args []string) {
	s := labOf(ts).stations[args[0]]
	if same := string(s.content()) == string(s.old); same == neg {
		ts.Fatalf("the disk of %s is as it was: %v", args[0], same)
	}
}

// zeros NAME: the first MiB of the station's disk is zero.
func cmdZeros(ts *testscript.TestScript, neg bool, args []string) {
	got := labOf(ts).stations[args[0]].content()[:1<<20]
	if zero := string(got) == string(make([]byte, 1<<20)); zero == neg {
		ts.Fatalf("the first MiB of %s is zero: %v", args[0], zero)
	}
}

// TestMan makes the manual pages, and has man read one.
func TestMan(t *testing.T) {
	dir := t.TempDir()
	flashtest.Run(t, "go", "run", "./man", dir)
	for _, name := range []string{"flash", "flash-write", "flash-status", "flash-watch", "flash-disks", "flash-cancel", "flash-receipts", "flash-discover"} {
		b, err := os.ReadFile(filepath.Join(dir, name+".1"))
		if err != nil || len(b) < 300 {
			t.Errorf("%s.1: %d bytes, %v", name, len(b), err)
		}
	}
}
