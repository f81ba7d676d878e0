// Package instance tests the appliance's gokrazy configuration.
package instance

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// config is the part of config.json that is tested; the format is gokrazy's
// internal/config.Struct.
type config struct {
	Environment   []string
	Packages      []string
	EEPROMPackage *string
	KernelPackage string
	PackageConfig map[string]struct{ CommandLineFlags []string }
	Update        *struct{ HTTPPassword string }
}

func read(t *testing.T) (config, string) {
	t.Helper()
	b, err := os.ReadFile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	var c config
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c, string(b)
}

func TestConfig(t *testing.T) {
	c, text := read(t)
	for _, want := range []string{"GOARCH=arm64", "GOOS=linux", "CGO_ENABLED=0"} {
		if !slices.Contains(c.Environment, want) {
			t.Errorf("Environment = %q, lacks %s", c.Environment, want)
		}
	}
	if !slices.ContainsFunc(c.Environment, func(s string) bool { return strings.HasPrefix(s, "GOFLAGS=") && strings.Contains(s, "-ldflags=-s") }) {
		t.Errorf("Environment = %q, does not strip programs", c.Environment)
	}
	if !slices.Contains(c.Packages, "github.com/openseastack/netboot-imager/imager") {
		t.Errorf("Packages = %q, lacks the imager", c.Packages)
	}
	if c.EEPROMPackage == nil || *c.EEPROMPackage != "" {
		t.Error(`EEPROMPackage is not "": gokrazy would write an EEPROM configuration without network boot`)
	}
	// With the usual priority of 1, gokrazy's DHCP client moves the routes that the kernel makes
	// from 0 to 1, and so does its watcher of the carrier at the same time. Whichever comes
	// second deletes "the route of priority 0", which to Linux is the first that it finds: the
	// last one. The station then has an address and no route, for good.
	if dhcp := c.PackageConfig["github.com/gokrazy/gokrazy/cmd/dhcp"]; !slices.Contains(dhcp.CommandLineFlags, "-extra_route_priority=-1") {
		t.Errorf("flags of dhcp = %q, lack -extra_route_priority=-1", dhcp.CommandLineFlags)
	}
	if c.Update != nil && c.Update.HTTPPassword != "" {
		t.Error("a password is in git")
	}
	for _, secret := range []string{"shared_secret", "imager.config_url", "HTTPPassword"} {
		if strings.Contains(text, secret) {
			t.Errorf("config.json has %s: the published instance must know no secret and no server", secret)
		}
	}
}

// TestBuilddir checks that gok would not change builddir/go.mod.
func TestBuilddir(t *testing.T) {
	for _, dir := range []string{"builddir", "../internal/e2e/testdata/hello/builddir"} {
		cmd := exec.Command("go", "mod", "tidy", "-diff")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: go.mod must follow the module's: run go mod tidy in it: %v\n%s", dir, err, out)
		}
	}
}
