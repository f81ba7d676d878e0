package dnsmasq

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a dnsmasq that is run.
type Child struct {
	Config Config
	// Dir is for its configuration and its leases.
	Dir string
	// Missing is called with the path, below the TFTP root, of each file that was asked for
	// and is not there.
	Missing func(path, client string)
	Logf    func(format string, args ...any)
}

// longestPause is between two starts of a dnsmasq that ends again and again.
const longestPause = 30 * time.Second

// Run runs dnsmasq until ctx ends, and starts it again if it ends. It returns an error if
// it ends at once the first time.
func (c *Child) Run(ctx context.Context) error {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	c.Config.LeaseFile = filepath.Join(c.Dir, "leases")
	conf := filepath.Join(c.Dir, "dnsmasq.conf")
	text, err := c.Config.Text()
	if err != nil {
		return err
	}
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return err
	}
	attr, err := c.privileges()
	if err != nil {
		return err
	}
	pause := time.Second
	for first := true; ; first = false {
		start := time.Now()
		err := c.once(ctx, conf, attr)
		if ctx.Err() != nil {
			return nil
		}
		if first && time.Since(start) < 2*time.Second {
			return err
		}
		if time.Since(start) > time.Minute {
			pause = time.Second
		}
		c.Logf("%v; starting it again in %v", err, pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// privileges makes dnsmasq nobody with what it needs for ports below 1024, for raw packets
// and for answering who has no address yet; everything that it serves is for everybody.
func (c *Child) privileges() (*syscall.SysProcAttr, error) {
	// It dies with netbootd, also when that is killed: its ports must be free then.
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if os.Getuid() != 0 {
		return attr, nil // it fails with its own words if it may not
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, fmt.Errorf("the user that dnsmasq is to run as: %w", err)
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	attr.AmbientCaps = []uintptr{unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}
	if err := os.Chown(c.Dir, int(uid), int(gid)); err != nil {
		return nil, fmt.Errorf("giving dnsmasq its directory: %w", err)
	}
	return attr, nil
}

// stampRE is the time that dnsmasq puts in front of a line.
var stampRE = regexp.MustCompile(`^[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d `)

// missingRE is what it says of a file that is not there.
var missingRE = regexp.MustCompile(`file (.+) not found for (\S+)$`)

// once runs dnsmasq until it ends, or until ctx does.
func (c *Child) once(ctx context.Context, conf string, attr *syscall.SysProcAttr) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	// In the foreground and without changing its user, which would take the death signal away.
	cmd := exec.Command("dnsmasq", "--no-daemon", "--conf-file="+conf, "--log-facility=-", "--pid-file=")
	cmd.Stderr, cmd.SysProcAttr = w, attr
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the death signal is sent when the thread that started it ends
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		w.Close()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting dnsmasq (Debian's package is dnsmasq-base): %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })()
	last := c.follow(r)
	err = <-ended
	return fmt.Errorf("dnsmasq ended (%w): %s", cmpErr(err), last)
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("without an error")
	}
	return err
}

// follow reads what dnsmasq says, and returns its last words.
func (c *Child) follow(r io.Reader) (last string) {
	for sc := bufio.NewScanner(r); sc.Scan(); {
		last = stampRE.ReplaceAllString(sc.Text(), "") // the log has times of its own
		c.Logf("%s", last)
		if m := missingRE.FindStringSubmatch(last); m != nil && c.Missing != nil {
			if rel, err := filepath.Rel(c.Config.TFTPRoot, m[1]); err == nil {
				c.Missing(rel, m[2])
			}
		}
	}
	return last
}
