package trees

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// Keep is how many trees are kept, the served one among them.
const Keep = 3

const (
	currentName  = "current"
	treesName    = "trees"
	bootcodeName = "bootcode.bin"
)

// Tree is one netboot tree.
type Tree struct {
	ID string `json:"id"`
	// Build is the time of the gokrazy build, RFC 3339; what a station that runs it says.
	Build string    `json:"build"`
	Linux string    `json:"kernel"` // release
	Added time.Time `json:"added"`
	// Current says that it is the one that is served.
	Current      bool  `json:"current"`
	PayloadBytes int64 `json:"payload_bytes"` // that each station downloads
	// Problem is why its manifest cannot be read, in which case there are only ID and
	// Current. Such a tree cannot be switched to.
	Problem string `json:"problem,omitempty"`
}

// NoTreeError is a tree that is not there.
type NoTreeError struct{ Why string }

func (e *NoTreeError) Error() string { return e.Why }

// Library is the directory. Use Open. It may be used from several goroutines.
type Library struct {
	// config
	root    string // of TFTP
	history string // file

	// state
	adding sync.Mutex // held by Add, which takes seconds
	mu     sync.Mutex
}

// Open opens the library in dir, which it makes: the TFTP root is dir/tftp.
func Open(dir string) (*Library, error) {
	l := &Library{root: filepath.Join(dir, "tftp"), history: filepath.Join(dir, "trees.json")}
	if err := os.MkdirAll(filepath.Join(l.root, treesName), 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of netboot trees: %w", err)
	}
	// What a power cut left half made.
	left, err := filepath.Glob(filepath.Join(l.root, treesName, ".netboot-*"))
	if err != nil {
		return nil, err
	}
	for _, tmp := range left {
		if err := os.RemoveAll(tmp); err != nil {
			return nil, fmt.Errorf("removing a tree that was never finished: %w", err)
		}
	}
	return l, l.link(bootcodeName, filepath.Join(currentName, bootcodeName))
}

// Root is the TFTP root, an absolute path if dir was.
func (l *Library) Root() string { return l.root }

func (l *Library) treeDir(id string) string { return filepath.Join(l.root, treesName, id) }

// link makes a link of the root, or points it elsewhere, in one step.
func (l *Library) link(name, target string) error {
	if old, err := os.Readlink(filepath.Join(l.root, name)); err == nil && old == target {
		return nil
	}
	tmp := filepath.Join(l.root, treesName, ".link-"+name)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return fmt.Errorf("pointing %s to %s: %w", name, target, err)
	}
	if err := os.Rename(tmp, filepath.Join(l.root, name)); err != nil {
		return fmt.Errorf("pointing %s to %s: %w", name, target, err)
	}
	return l.sync()
}

// sync makes everything in the library durable.
func (l *Library) sync() error {
	d, err := os.Open(l.root)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("making the netboot trees durable: %w", err)
	}
	return nil
}

// Add makes a tree of a gokrazy build and keeps it. It is not served until Switch. A tree
// that is like the newest one is not made again.
func (l *Library) Add(ctx context.Context, images *netboot.Images, o netboot.Options) (Tree, error) {
	l.adding.Lock()
	defer l.adding.Unlock()
	o.Layout, o.Stations = netboot.PerSerial, nil // they have links of their own, to whatever is current
	tmp, err := os.MkdirTemp(filepath.Join(l.root, treesName), ".netboot-")
	if err != nil {
		return Tree{}, err
	}
	defer os.RemoveAll(tmp)
	made := filepath.Join(tmp, "tree")
	m, err := netboot.Build(ctx, images, made, o)
	if err != nil {
		return Tree{}, err
	}
	if m.Build == "" {
		return Tree{}, errors.New("the build's time is not known, so `gok update` could not tell whether it is running: build it with gok")
	}
	// It is read back before anybody is told that it is there.
	if err := m.Verify(made); err != nil {
		return Tree{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ids, err := l.ids()
	if err != nil {
		return Tree{}, err
	}
	n := 0
	if len(ids) > 0 {
		newest := ids[len(ids)-1]
		if old, err := netboot.ReadManifest(l.treeDir(newest)); err == nil && old.Build == m.Build && slices.Equal(old.Files, m.Files) {
			return l.tree(newest)
		}
		fmt.Sscanf(newest, "%d-", &n)
	}
	id := fmt.Sprintf("%04d-%s", n+1, strings.NewReplacer("-", "", ":", "", "+", "p").Replace(m.Build))
	if err := os.Rename(made, l.treeDir(id)); err != nil {
		return Tree{}, err
	}
	if err := l.sync(); err != nil {
		return Tree{}, err
	}
	return l.tree(id)
}

var idRE = regexp.MustCompile(`^[0-9]{4,}-[0-9A-Zp]+$`)

// ids are all trees' in the order they came.
func (l *Library) ids() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(l.root, treesName))
	if err != nil {
		return nil, fmt.Errorf("listing the netboot trees: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && idRE.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	number := func(id string) (n int) { fmt.Sscanf(id, "%d-", &n); return n }
	slices.SortFunc(ids, func(a, b string) int { return number(a) - number(b) })
	return ids, nil
}

func (l *Library) tree(id string) (Tree, error) {
	m, err := netboot.ReadManifest(l.treeDir(id))
	if err != nil {
		return Tree{}, err
	}
	info, err := os.Stat(l.treeDir(id))
	if err != nil {
		return Tree{}, err
	}
	return Tree{ID: id, Build: m.Build, Linux: m.Kernel, Added: info.ModTime(), Current: id == l.current(), PayloadBytes: m.PayloadBytes}, nil
}

// current is the served tree's ID, "" if there is none.
func (l *Library) current() string {
	target, err := os.Readlink(filepath.Join(l.root, currentName))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// List returns all trees, the newest first, damaged ones with their Problem.
func (l *Library) List() ([]Tree, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids, err := l.ids()
	if err != nil {
		return nil, err
	}
	trees := []Tree{}
	for _, id := range slices.Backward(ids) {
		t, err := l.tree(id)
		if err != nil {
			t = Tree{ID: id, Current: id == l.current(), Problem: err.Error()}
		}
		trees = append(trees, t)
	}
	return trees, nil
}

// Current returns the tree that is served; false if there is none yet.
func (l *Library) Current() (Tree, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.current()
	if id == "" {
		return Tree{}, false
	}
	t, err := l.tree(id)
	return t, err == nil
}

// Switch serves a tree to all enrolled stations, in one step, and removes trees that are
// no longer kept.
func (l *Library) Switch(id string) (Tree, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	past := l.past()
	if len(past) == 0 || past[len(past)-1] != id {
		past = append(past, id)
	}
	return l.serve(id, past)
}

// Rollback serves the tree that was served before the current one.
func (l *Library) Rollback() (Tree, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	past := l.past()
	if len(past) < 2 {
		return Tree{}, &NoTreeError{"there is no earlier netboot tree to go back to"}
	}
	past = past[:len(past)-1]
	return l.serve(past[len(past)-1], past)
}

func (l *Library) serve(id string, past []string) (Tree, error) {
	if !idRE.MatchString(id) {
		return Tree{}, &NoTreeError{fmt.Sprintf("no netboot tree %q", id)}
	}
	m, err := netboot.ReadManifest(l.treeDir(id))
	if err != nil {
		return Tree{}, &NoTreeError{fmt.Sprintf("no netboot tree %q: %v", id, err)}
	}
	if err := m.Verify(l.treeDir(id)); err != nil {
		return Tree{}, fmt.Errorf("the netboot tree %s is damaged, and what was served before still is: %w", id, err)
	}
	if err := l.link(currentName, filepath.Join(treesName, id)); err != nil {
		return Tree{}, err
	}
	// From here on it is served. What the past was matters only to the next rollback.
	b, err := json.Marshal(past)
	if err != nil {
		return Tree{}, err
	}
	if err := renameio.WriteFile(l.history, b, 0o644); err != nil {
		return Tree{}, fmt.Errorf("noting which netboot tree is served: %w", err)
	}
	if err := l.prune(past); err != nil {
		return Tree{}, err
	}
	return l.tree(id)
}

// past are the IDs of the trees that were served, the current one last, as far as they
// are still there.
func (l *Library) past() []string {
	var past []string
	if b, err := os.ReadFile(l.history); err == nil {
		_ = json.Unmarshal(b, &past) // one that cannot be read is no past
	}
	ids, err := l.ids()
	if err != nil {
		return nil
	}
	past = slices.DeleteFunc(past, func(id string) bool { return !slices.Contains(ids, id) })
	current := l.current()
	if i := slices.Index(past, current); i >= 0 {
		return past[:i+1] // the power went after a rollback's rename
	}
	if current != "" && slices.Contains(ids, current) {
		past = append(past, current) // or after a switch's
	}
	return past
}

// prune removes what is beyond the current tree, the one before it, and the newest others.
func (l *Library) prune(past []string) error {
	ids, err := l.ids()
	if err != nil {
		return err
	}
	keep := slices.Clone(past[max(0, len(past)-2):])
	for _, target := range l.tests() {
		keep = append(keep, target)
	}
	for _, id := range slices.Backward(ids) {
		if len(keep) < Keep && !slices.Contains(keep, id) {
			keep = append(keep, id)
		}
	}
	for _, id := range ids {
		if slices.Contains(keep, id) {
			continue
		}
		if err := os.RemoveAll(l.treeDir(id)); err != nil {
			return fmt.Errorf("removing an old netboot tree: %w", err)
		}
	}
	return nil
}
