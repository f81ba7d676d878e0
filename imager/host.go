package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/openseastack/netboot-imager/internal/machine"
)

// release is the version of this source tree.
const release = "1.0.0"

// version returns the release, with the revision it was built from if that is known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	v := release
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v += "+" + s.Value[:12]
		}
		if s.Key == "vcs.modified" && s.Value == "true" {
			v += ".dirty"
		}
	}
	return v
}

// statePath is the file that remembers the job across restarts of the service, not of
// the machine: systemd's runtime directory, or /tmp, which is RAM on a station.
func statePath(port int) string {
	dir := os.Getenv("RUNTIME_DIRECTORY")
	if dir == "" {
		dir = os.TempDir()
	}
	return filepath.Join(dir, fmt.Sprintf("netboot-imager-%d.json", port))
}

// readAhead is how many bytes of download are held in RAM: a sixteenth of what is free,
// 4 to 16 MiB.
func readAhead(proc string) int {
	const least, most = 4 << 20, 16 << 20
	free := machine.System{Proc: proc}.MemoryAvailable()
	return int(min(max(free/16, least), most))
}

// gokrazySocket is where gokrazy serves its own API to programs on the station, without
// a password.
const gokrazySocket = "/run/gokrazy-http.sock"

// rebootable refuses where gokrazy does not run: a developer's machine is not restarted
// because a test said so.
func rebootable() error {
	if _, err := os.Stat(gokrazySocket); err != nil {
		return fmt.Errorf("this is no gokrazy station (%w); restart the machine yourself", err)
	}
	return nil
}

// reboot has gokrazy restart the station.
func reboot() error { return askGokrazy("reboot") }

// powerOff has gokrazy switch the station off.
func powerOff() error { return askGokrazy("poweroff") }

// askGokrazy has gokrazy do what its API calls action.
func askGokrazy(action string) error {
	if err := rebootable(); err != nil {
		return err
	}
	client := &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", gokrazySocket)
		}},
	}
	resp, err := client.Post("http://gokrazy/"+action, "", nil)
	if err != nil {
		return fmt.Errorf("ask gokrazy to %s: %w", action, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask gokrazy to %s: it answered %s", action, resp.Status)
	}
	return nil
}
