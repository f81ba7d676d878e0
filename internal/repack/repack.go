package repack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/openseastack/netboot-imager/internal/board"
	"github.com/openseastack/netboot-imager/internal/ptable"
	"github.com/openseastack/netboot-imager/internal/source"
)

// Options say what to repack.
type Options struct {
	In      string // file; its format is recognised by content
	Out     string // file; "" for OutName(In, Format)
	Format  string // BGZF or Zstd
	Level   Level
	Force   bool // what is no disk image, too
	Replace bool // Out may exist; In may be Out

	Row func(board.State) // told how it goes; nil for nobody
}

// Result says what was made.
type Result struct {
	Out      string
	Sum      string // file with SHA256, for sha256sum
	From     string // the original's format
	InSize   int64  // of the original file
	OutSize  int64
	Size     int64          // of the decompressed image
	SHA256   string         // of the decompressed image, hex
	NotImage *NotImageError // why stations refuse it, if Force was needed
}

// OutName is the name of the file that in becomes: the same with another suffix.
func OutName(in, format string) string { return bare(in) + Suffix(format) }

// bare is the name of the decompressed image.
func bare(name string) string {
	for _, suffix := range []string{".gz", ".bgz", ".xz", ".zst", ".zstd", ".bz2"} {
		if s, ok := strings.CutSuffix(name, suffix); ok && filepath.Base(s) != "" {
			return s
		}
	}
	return name
}

// Repack does it. Unless it returns nil, Out is what it was before.
func Repack(ctx context.Context, opt Options) (*Result, error) {
	if opt.Row == nil {
		opt.Row = func(board.State) {}
	}
	if opt.Out == "" {
		opt.Out = OutName(opt.In, opt.Format)
	}
	if err := replaceable(opt); err != nil {
		return nil, err
	}
	f, img, err := source.OpenFile(opt.In)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer img.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	res := &Result{Out: opt.Out, Sum: opt.Out + ".sha256", From: img.Format, InSize: st.Size()}

	out, err := renameio.NewPendingFile(opt.Out, renameio.WithPermissions(st.Mode().Perm()))
	if err != nil {
		return nil, fmt.Errorf("a file beside %s cannot be made: %w", opt.Out, err)
	}
	defer out.Cleanup()
	sum := &digest{hash: sha256.New(), step: func() {
		opt.Row(board.State{Stage: "packing", Fraction: fraction(img.Taken(), res.InSize)})
	}}
	if err := pack(ctx, out, img, sum, opt, res); err != nil {
		return nil, fmt.Errorf("%s: %w", opt.In, err)
	}
	res.Size, res.SHA256 = sum.n, sum.hex()
	if err := prove(ctx, out.Name(), opt, res); err != nil {
		return nil, fmt.Errorf("%w; %s is as it was", err, opt.Out)
	}
	return res, publish(out, res)
}

// replaceable refuses to write over what it should not.
func replaceable(opt Options) error {
	st, err := os.Lstat(opt.Out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file, so it is not replaced; name another by -o", opt.Out)
	case !opt.Replace:
		return fmt.Errorf("%s exists; have it replaced by -replace, or name another file by -o", opt.Out)
	}
	return nil
}

// pack compresses img to out, and puts what is seen of the image into sum.
func pack(ctx context.Context, out io.Writer, img io.Reader, sum *digest, opt Options, res *Result) error {
	head := make([]byte, ptable.HeadSize)
	n, err := io.ReadFull(img, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	head = head[:n]
	table, no := recognise(head)
	if no != nil && !opt.Force {
		return no
	}
	res.NotImage = no
	src := io.TeeReader(io.MultiReader(bytes.NewReader(head), img), sum)
	if err := compress(ctx, out, src, opt.Format, opt.Level); err != nil {
		return err
	}
	if table == nil {
		return nil
	}
	if no := complete(table, sum.n); no != nil {
		if !opt.Force {
			return no
		}
		res.NotImage = no
	}
	return nil
}

// prove decodes what was written, as a station would, and compares.
func prove(ctx context.Context, name string, opt Options, res *Result) error {
	f, img, err := source.OpenFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	defer img.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", opt.Out, err)
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	res.OutSize = st.Size()
	sum := &digest{hash: sha256.New(), step: func() {
		opt.Row(board.State{Stage: "checking", Fraction: fraction(img.Taken(), res.OutSize)})
	}}
	buf := make([]byte, pieceSize)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := img.Read(buf)
		sum.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("BUG or bad disk: what was written cannot be decoded: %w", err)
		}
	}
	if sum.n != res.Size || sum.hex() != res.SHA256 {
		return fmt.Errorf("BUG or bad disk: what was written decodes to %d bytes with sha256 %s, and the original to %d with %s", sum.n, sum.hex(), res.Size, res.SHA256)
	}
	return nil
}

// publish puts the file in its place, then its sum. In between there is none: never one of
// another image.
func publish(out *renameio.PendingFile, res *Result) error {
	if err := os.Remove(res.Sum); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("%s cannot be put in place: %w", res.Out, err)
	}
	image := filepath.Base(bare(res.Out))
	text := fmt.Sprintf("%s  %s\n# This is the SHA-256 of the decompressed image, which goes onto the disk, not of %s.\n", res.SHA256, image, filepath.Base(res.Out))
	if err := renameio.WriteFile(res.Sum, []byte(text), 0o644); err != nil {
		return fmt.Errorf("%s is in place, but its sum cannot be written: %w", res.Out, err)
	}
	return nil
}

// digest hashes and counts what is written to it.
type digest struct {
	hash hash.Hash
	n    int64
	step func()
}

func (d *digest) Write(p []byte) (int, error) {
	d.hash.Write(p)
	d.n += int64(len(p))
	d.step()
	return len(p), nil
}

func (d *digest) hex() string { return hex.EncodeToString(d.hash.Sum(nil)) }

func fraction(n, of int64) float64 {
	if of <= 0 {
		return 0
	}
	return min(1, float64(n)/float64(of))
}
