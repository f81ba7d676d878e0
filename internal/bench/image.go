package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Image is a disk image in every format that is measured. Its files are kept between
// runs: xz takes minutes.
type Image struct {
	Dir     string
	Logical int64 // bytes of the image
	Data    int64 // bytes of file data in it
	Sizes   map[string]int64
}

// Formats are what images are served as, in the order of the table.
var Formats = []string{"raw", "gzip", "pigz", "bgzip", "xz", "xz-T0", "zstd"}

// compressors are the command lines that make the formats from standard input.
var compressors = map[string][]string{
	"gzip":  {"gzip", "-c"},
	"pigz":  {"pigz", "-c"},
	"bgzip": {"bgzip", "-c", "-@", "2"},
	"xz":    {"xz", "-c", "-T1"},
	"xz-T0": {"xz", "-c", "-T2"}, // -T0 makes one block on a machine with one core
	"zstd":  {"zstd", "-q", "-c"},
}

// bootStart is where the FAT partition begins, in bytes.
const bootStart = 1 << 20

// rootStart is where the ext4 partition of an image of logical bytes begins.
func rootStart(logical int64) int64 { return bootStart + min(64<<20, logical/8>>20<<20) }

// Path is the file with the image in format.
func (img *Image) Path(format string) string { return filepath.Join(img.Dir, "image."+format) }

// Bmap is the block map that bmaptool made of the image.
func (img *Image) Bmap() string { return img.Path("bmap") }

// MakeImage makes an image of logical bytes in dir that holds data bytes of the files
// below from, and compresses it to formats; what is there already stays. The image has an
// MBR, an empty FAT partition and an ext4 one with the files, which the kernel has put
// there, as those that make distributions' images have it: its free space is between the
// files, where mkfs.ext4 -d would leave all of it at the end. It needs root, mkfs.ext4,
// mkfs.fat, bmaptool and the compressors.
func MakeImage(ctx context.Context, dir, from string, logical, data int64, formats []string, logf func(string, ...any)) (*Image, error) {
	img := &Image{Dir: dir, Logical: logical, Data: data, Sizes: map[string]int64{}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	err := once(img.Path("raw"), func(tmp string) error {
		logf("making an image of %d MiB with %d MiB of files from %s", logical>>20, data>>20, from)
		return makeRaw(ctx, tmp, from, logical, data)
	})
	if err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	err = once(img.Bmap(), func(tmp string) error {
		return command(ctx, "bmaptool", "create", "-o", tmp, img.Path("raw"))
	})
	if err != nil {
		return nil, err
	}
	for _, format := range formats {
		argv := compressors[format]
		if argv != nil {
			err := once(img.Path(format), func(tmp string) error {
				logf("compressing it: %s", strings.Join(argv, " "))
				return compress(ctx, argv, img.Path("raw"), tmp)
			})
			if err != nil {
				return nil, err
			}
		}
		fi, err := os.Stat(img.Path(format))
		if err != nil {
			return nil, err
		}
		img.Sizes[format] = fi.Size()
	}
	return img, nil
}

// once makes the file path by way of another name, unless it exists.
func once(path string, make func(tmp string) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	tmp := path + ".new"
	defer os.RemoveAll(tmp)
	if err := make(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func makeRaw(ctx context.Context, path, from string, logical, data int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(logical); err != nil {
		return err
	}
	if _, err := f.WriteAt(mbr(logical), 0); err != nil {
		return err
	}
	root := rootStart(logical)
	boot := path + ".boot"
	defer os.Remove(boot)
	if err := command(ctx, "mkfs.fat", "-C", "-i", "1badf00d", boot, fmt.Sprint((root-bootStart)>>10)); err != nil {
		return err
	}
	// Not by way of memory: what this process has, its children are counted with.
	if err := copyFile(boot, f, bootStart); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := command(ctx, "mkfs.ext4", "-q", "-F", "-U", "00000000-0000-4000-8000-000000000001",
		"-E", fmt.Sprintf("offset=%d,nodiscard,root_owner=0:0,hash_seed=00000000-0000-4000-8000-000000000002", root), path, fmt.Sprintf("%dk", (logical-root)>>10)); err != nil {
		return err
	}
	point, err := os.MkdirTemp(filepath.Dir(path), "mounted-")
	if err != nil {
		return err
	}
	defer os.Remove(point)
	if err := command(ctx, "mount", "-t", "ext4", "-o", fmt.Sprintf("loop,offset=%d", root), path, point); err != nil {
		return err
	}
	return errors.Join(copySome(ctx, point, from, data), command(context.WithoutCancel(ctx), "umount", point))
}

// mbr is a partition table with the FAT and the ext4 partition.
func mbr(logical int64) []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint32(b[440:], 0x1badf00d)
	for i, p := range []struct {
		kind       byte
		start, end int64
	}{{0x0c, bootStart, rootStart(logical)}, {0x83, rootStart(logical), logical}} {
		e := b[446+16*i:]
		e[4] = p.kind
		binary.LittleEndian.PutUint32(e[8:], uint32(p.start/512))
		binary.LittleEndian.PutUint32(e[12:], uint32((p.end-p.start)/512))
	}
	b[510], b[511] = 0x55, 0xaa
	return b
}

// errEnough ends the walk in copySome.
var errEnough = errors.New("enough")

// copySome copies files below from to the directory to until they have want bytes. It
// takes every third file first, so that programs, libraries, documents and sources all
// have their share, then the others.
func copySome(ctx context.Context, to, from string, want int64) error {
	var have int64
	for turn := 0; turn < 3 && have < want; turn++ {
		count := 0
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			if !d.Type().IsRegular() {
				return nil
			}
			if count++; count%3 != turn {
				return nil
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			if fi.Size() > want-have {
				return nil
			}
			rel, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			name := filepath.Join(to, rel)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
			if err := copyNew(path, name); err != nil {
				return err
			}
			if have += fi.Size(); have > want-want/50 {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%s has only %d MiB of files, %d are needed; name another directory with -data", from, have>>20, want>>20)
}

// copyFile writes the file from into to at off.
func copyFile(from string, to *os.File, off int64) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(io.NewOffsetWriter(to, off), in)
	return err
}

func copyNew(from, to string) error {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(copyFile(from, out, 0), out.Close())
}

// compress runs a program from one file to another.
func compress(ctx context.Context, argv []string, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout = in, out
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		out.Close()
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out.Close()
}

// command runs a program that prints only when it fails.
func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
