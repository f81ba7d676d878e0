package netboot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	diskfile "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/squashfs"
)

// secrets are the files of a gokrazy root file system that must not be served over
// TFTP, which anyone on the network can read. Who has gokrazy's password owns the
// station, through /uploadtemp and /divert. Without it gokrazy serves only its unix
// socket, /run/gokrazy-http.sock.
var secrets = []string{
	"etc/gokr-pw.txt",
	"etc/ssl/gokrazy-web.key.pem",
}

// imagerConfig holds the imager's token where it was put in by ExtraFilePaths.
const imagerConfig = "etc/netboot-imager"

// wantedModules are the loadable kernel modules that stay: gokrazy loads pwm-fan for
// the Raspberry Pi 5's fan and nothing else. The drivers for disks and network
// adapters are built into the kernel.
var wantedModules = []string{"kernel/drivers/hwmon/pwm-fan.ko"}

// node is one file, directory or symbolic link of the station's root file system.
type node struct {
	path   string // relative to the root, without a leading slash
	mode   fs.FileMode
	data   []byte
	target string // of a symbolic link
}

// rootFS is what goes into the initramfs.
type rootFS struct {
	nodes   []node // sorted by path, parents first
	release string // of the kernel, from lib/modules; empty if there are no modules
	left    []string
}

// readRoot reads the root file system, without what a netbooted station must not or
// need not have. left names the secrets that were left out.
func readRoot(r *io.SectionReader, keepImagerConfig bool) (*rootFS, error) {
	img, err := squashfs.Read(diskfile.New(sectionFile{r}, true), r.Size(), 0, 0)
	if err != nil {
		return nil, fmt.Errorf("reading gokrazy's root file system: %w", err)
	}
	root := &rootFS{}
	if err := root.walk(img, "."); err != nil {
		return nil, fmt.Errorf("reading gokrazy's root file system: %w", err)
	}
	slices.SortFunc(root.nodes, func(a, b node) int { return strings.Compare(a.path, b.path) })
	root.filter(keepImagerConfig)
	if !slices.ContainsFunc(root.nodes, func(n node) bool { return n.path == "gokrazy/init" }) {
		return nil, errors.New("the root image holds no /gokrazy/init: it is not from gokrazy")
	}
	return root, nil
}

func (r *rootFS) walk(img *squashfs.FileSystem, dir string) error {
	entries, err := img.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("%s: %w", path.Join(dir, e.Name()), err)
		}
		n := node{path: path.Join(dir, e.Name()), mode: info.Mode()}
		switch info.Mode().Type() {
		case fs.ModeDir:
			if err := r.walk(img, n.path); err != nil {
				return err
			}
		case fs.ModeSymlink:
			st, ok := info.Sys().(*squashfs.StatT)
			if !ok || st.LinkTarget == "" {
				return fmt.Errorf("%s: a symbolic link without a target", n.path)
			}
			n.target = st.LinkTarget
		case 0:
			if n.data, err = img.ReadFile(n.path); err != nil {
				return fmt.Errorf("%s: %w", n.path, err)
			}
			if int64(len(n.data)) != info.Size() {
				return fmt.Errorf("%s: %d bytes of %d", n.path, len(n.data), info.Size())
			}
		default:
			return fmt.Errorf("%s: mode %v has no place in a gokrazy root file system", n.path, info.Mode())
		}
		r.nodes = append(r.nodes, n)
	}
	return nil
}

// file is the contents of a file; nil if there is none.
func (r *rootFS) file(path string) []byte {
	if i := slices.IndexFunc(r.nodes, func(n node) bool { return n.path == path }); i >= 0 {
		return r.nodes[i].data
	}
	return nil
}

// filter drops secrets and kernel modules, and notes the kernel's release.
func (r *rootFS) filter(keepImagerConfig bool) {
	r.nodes = slices.DeleteFunc(r.nodes, func(n node) bool {
		if slices.Contains(secrets, n.path) {
			r.left = append(r.left, "/"+n.path)
			return true
		}
		if !keepImagerConfig && (n.path == imagerConfig || strings.HasPrefix(n.path, imagerConfig+"/")) {
			if !n.mode.IsDir() {
				r.left = append(r.left, "/"+n.path)
			}
			return true
		}
		return r.isUnwantedModule(n.path)
	})
}

func (r *rootFS) isUnwantedModule(p string) bool {
	below, ok := strings.CutPrefix(p, "lib/modules/")
	if !ok {
		return false
	}
	release, below, _ := strings.Cut(below, "/")
	r.release = release
	if below == "" {
		return false
	}
	return !slices.ContainsFunc(wantedModules, func(want string) bool {
		return below == want || strings.HasPrefix(want, below+"/")
	})
}

// RootFile reads one file of gokrazy's root file system, also one that is left out of
// trees; fs.ErrNotExist if it is not there.
func (im *Images) RootFile(name string) ([]byte, error) {
	img, err := squashfs.Read(diskfile.New(sectionFile{im.Root}, true), im.Root.Size(), 0, 0)
	if err != nil {
		return nil, fmt.Errorf("reading gokrazy's root file system: %w", err)
	}
	entries, err := img.ReadDir(path.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("reading gokrazy's root file system: %s: %w", name, err)
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == path.Base(name) }) {
		return nil, fs.ErrNotExist
	}
	b, err := img.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading gokrazy's root file system: %s: %w", name, err)
	}
	return b, nil
}

// sectionFile is a section of a file as the fs.File that go-diskfs reads from.
type sectionFile struct{ *io.SectionReader }

func (sectionFile) Close() error                 { return nil }
func (f sectionFile) Stat() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
