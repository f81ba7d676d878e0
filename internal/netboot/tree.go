package netboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/openseastack/netboot-imager/internal/fatfs"
)

const (
	// warnFile is the largest file in bytes that every boot loader fetches. The block
	// counter of those before September 2025 does not wrap
	// (https://github.com/raspberrypi/rpi-eeprom/issues/720), and those before
	// December 2022 have blocks of 1024 bytes: 65535 of them are 67.1 MB.
	warnFile = 64_000_000
	// maxFile is the same for the 1468-byte blocks since then, which makes 96.2 MB, with
	// something to spare for TFTP_FILE_TIMEOUT: 30 s for each file, at 3 MB/s.
	maxFile = 90_000_000
)

// Options are a tree's settings. The zero value is a per-serial tree without stations
// whose imager waits for a configuration file it does not get.
type Options struct {
	// Layout is PerSerial unless set.
	Layout Layout
	// Stations are serial numbers to enrol in a PerSerial tree, of which the last
	// eight hex digits count.
	Stations []string
	// ConfigURL is where the imager fetches its config.json from.
	ConfigURL string
	// KernelArgs are added to the kernel command line, one word each.
	KernelArgs []string
	// ConfigLines are added to config.txt, below [all].
	ConfigLines []string
	// SerialConsole is serial0,115200 unless set; off for none.
	SerialConsole string
	// BootRAMDisk makes boot loaders load everything from boot.img, in one transfer.
	BootRAMDisk bool
	// KeepImagerConfig leaves the imager's own configuration, with its token, in the
	// initramfs if the gokrazy instance put one there. Everybody on the network can
	// read it then.
	KeepImagerConfig bool
	// Logf reports each step and each warning, unless it is nil.
	Logf func(format string, args ...any)
}

func (o *Options) serialConsole() string {
	if o.SerialConsole == "" {
		return "serial0,115200"
	}
	return o.SerialConsole
}

func (o *Options) cmdlineName() string {
	if o.Layout == Flat {
		return flatCmdlineName
	}
	return cmdlineName
}

func (o *Options) logf(format string, args ...any) {
	if o.Logf != nil {
		o.Logf(format, args...)
	}
}

var serialRE = regexp.MustCompile(`^([0-9a-f]{8})?([0-9a-f]{8})$`)

// StationDir is the name of the directory that the Pi with this serial number asks
// for: the number's last eight hex digits.
func StationDir(serial string) (string, error) {
	m := serialRE.FindStringSubmatch(strings.ToLower(serial))
	if m == nil {
		return "", fmt.Errorf("serial number %q: it must have 8 or 16 hex digits, as in /proc/cpuinfo", serial)
	}
	return m[2], nil
}

// Build makes a tree of a gokrazy build in dir, which is replaced as a whole if it is
// a tree, and must be empty or not exist otherwise.
func Build(ctx context.Context, images *Images, dir string, o Options) (*Manifest, error) {
	switch o.Layout {
	case "":
		o.Layout = PerSerial
	case PerSerial, Flat:
	default:
		return nil, fmt.Errorf("layout %q: it must be %s or %s", o.Layout, PerSerial, Flat)
	}
	if o.Layout == Flat && len(o.Stations) > 0 {
		return nil, errors.New("a flat tree is for every Pi: give no serial numbers, or choose the per-serial layout")
	}
	if err := checkReplaceable(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), ".netboot-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return nil, err
	}
	b := &builder{o: &o, dir: tmp}
	m, err := b.build(ctx, images)
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return nil, err
	}
	return m, nil
}

// checkReplaceable keeps a mistyped directory from being emptied.
func checkReplaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the output directory: %w", err)
	}
	if _, err := ReadManifest(dir); err != nil {
		return fmt.Errorf("%s is neither empty nor a netboot tree: give another directory", dir)
	}
	return nil
}

// builder makes one tree.
type builder struct {
	// config
	o   *Options
	dir string

	// state
	manifest Manifest
}

func (b *builder) build(ctx context.Context, images *Images) (*Manifest, error) {
	boot := "."
	if b.o.Layout == PerSerial {
		boot = "common"
	}
	b.manifest = Manifest{Layout: b.o.Layout, Boot: boot}

	files, kernel, err := readBoot(images.Boot)
	if err != nil {
		return nil, err
	}
	root, err := readRoot(images.Root, b.o.KeepImagerConfig)
	if err != nil {
		return nil, err
	}
	for _, name := range root.left {
		b.o.logf("%s is left out: the tree is readable by everybody on the network", name)
	}
	b.manifest.Kernel = root.release
	if b.manifest.Build, err = BuildTimestamp(root.file("gokrazy/init")); err != nil {
		b.o.logf("warning: the build's time is not known: %v", err)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}

	b.o.logf("compressing kernel %s (%.1f MB)", root.release, mb(len(kernel)))
	var kbuf bytes.Buffer
	if err := writeKernel(&kbuf, kernel); err != nil {
		return nil, err
	}
	b.o.logf("compressing the initramfs")
	var ibuf bytes.Buffer
	if b.manifest.InitramfsBytes, err = writeInitramfs(&ibuf, root); err != nil {
		return nil, err
	}
	b.manifest.PayloadBytes = int64(kbuf.Len() + ibuf.Len())
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}

	files = append(files, fatfs.File{Name: kernelName, Data: kbuf.Bytes()}, fatfs.File{Name: initramfsName, Data: ibuf.Bytes()})
	if err := b.writeFiles(boot, files); err != nil {
		return nil, err
	}
	if err := b.enrol(); err != nil {
		return nil, err
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	return &b.manifest, nil
}

// writeFiles writes the boot directory, boot.img and the card's image.
func (b *builder) writeFiles(boot string, files []fatfs.File) error {
	// boot.img is for a medium of its own, where cmdline.txt has its usual name.
	inImg := *b.o
	inImg.Layout, inImg.BootRAMDisk = PerSerial, false
	imgFiles, err := withText(files, &inImg)
	if err != nil {
		return err
	}
	treeFiles, err := withText(files, b.o)
	if err != nil {
		return err
	}
	if b.o.BootRAMDisk {
		treeFiles = slices.DeleteFunc(treeFiles, func(f fatfs.File) bool {
			return !slices.Contains(firmware, f.Name) && f.Name != configName
		})
	}
	for _, f := range treeFiles {
		if err := b.write(filepath.Join(boot, f.Name), f.Data); err != nil {
			return err
		}
		if b.o.Layout == PerSerial && f.Name == bootcodeName {
			// A Pi 3's boot ROM knows no prefix.
			if err := b.write(f.Name, f.Data); err != nil {
				return err
			}
		}
	}
	b.o.logf("making boot.img and the card's image")
	img := filepath.Join(b.dir, boot, bootImgName)
	if err := writeBootImg(img, imgFiles); err != nil {
		return err
	}
	return writeSDCard(filepath.Join(b.dir, sdcardName), img)
}

func withText(files []fatfs.File, o *Options) ([]fatfs.File, error) {
	config, err := configTxt(o)
	if err != nil {
		return nil, err
	}
	cmdline, err := cmdlineTxt(o)
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(files), fatfs.File{Name: configName, Data: []byte(config)}, fatfs.File{Name: o.cmdlineName(), Data: []byte(cmdline)}), nil
}

func (b *builder) write(name string, data []byte) error {
	path := filepath.Join(b.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// enrol links each station's directory to the common one.
func (b *builder) enrol() error {
	for _, serial := range b.o.Stations {
		name, err := StationDir(serial)
		if err != nil {
			return err
		}
		if slices.Contains(b.manifest.Stations, name) {
			continue
		}
		if err := os.Symlink(b.manifest.Boot, filepath.Join(b.dir, name)); err != nil {
			return fmt.Errorf("enrolling station %s: %w", serial, err)
		}
		b.manifest.Stations = append(b.manifest.Stations, name)
	}
	slices.Sort(b.manifest.Stations)
	return nil
}

// finish checks the sizes and writes the manifest.
func (b *builder) finish() error {
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(b.dir, path)
		if err != nil {
			return err
		}
		f, err := hashFile(b.dir, filepath.ToSlash(rel))
		if err != nil {
			return err
		}
		b.manifest.Files = append(b.manifest.Files, f)
		if rel == sdcardName { // never fetched by TFTP
			return nil
		}
		return b.checkSize(f)
	})
	if err != nil {
		return err
	}
	return b.manifest.write(b.dir)
}

func (b *builder) checkSize(f ManifestFile) error {
	switch {
	case f.Bytes > maxFile:
		return fmt.Errorf("%s has %.1f MB, more than the %d MB that boot loaders of before September 2025 surely fetch by TFTP", f.Path, mb(f.Bytes), maxFile/1_000_000)
	case f.Bytes > warnFile:
		b.o.logf("warning: %s has %.1f MB: boot loaders of before December 2022 fetch at most %d MB by TFTP", f.Path, mb(f.Bytes), warnFile/1_000_000)
	}
	return nil
}

// mb is a size in megabytes (10^6).
func mb[T int | int64](n T) float64 { return float64(n) / 1e6 }
