package trees

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// bootDir is the directory of a tree that boot loaders read.
const bootDir = "common"

var stationRE = regexp.MustCompile(`^[0-9a-f]{8}$`)

// Enrol serves the current tree to the station with this serial number, of which the last
// eight hex digits count.
func (l *Library) Enrol(serial string) error {
	name, err := netboot.StationDir(serial)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.link(name, filepath.Join(currentName, bootDir))
}

// Retire has the station answered that there is nothing for it.
func (l *Library) Retire(serial string) error {
	name, err := netboot.StationDir(serial)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := os.Remove(filepath.Join(l.root, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("taking station %s out: %w", serial, err)
	}
	return l.sync()
}

// Test serves one tree to one station, whatever the others get. Enrol ends that.
func (l *Library) Test(serial, id string) error {
	name, err := netboot.StationDir(serial)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := netboot.ReadManifest(l.treeDir(id)); err != nil {
		return &NoTreeError{fmt.Sprintf("no netboot tree %q: %v", id, err)}
	}
	return l.link(name, filepath.Join(treesName, id, bootDir))
}

// Enrolled returns the stations that have a directory, the last eight digits of their
// serial numbers.
func (l *Library) Enrolled() ([]string, error) {
	entries, err := os.ReadDir(l.root)
	if err != nil {
		return nil, fmt.Errorf("listing the enrolled stations: %w", err)
	}
	var names []string
	for _, e := range entries {
		if stationRE.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// tests are the trees that single stations are served, by station.
func (l *Library) tests() map[string]string {
	tests := map[string]string{}
	entries, err := os.ReadDir(l.root)
	if err != nil {
		return tests
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(l.root, e.Name()))
		if err != nil || !stationRE.MatchString(e.Name()) {
			continue
		}
		if tree := filepath.Dir(target); filepath.Base(filepath.Dir(tree)) == treesName {
			tests[e.Name()] = filepath.Base(tree)
		}
	}
	return tests
}
