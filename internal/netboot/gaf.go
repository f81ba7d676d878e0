package netboot

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
)

// Images is one gokrazy build: the boot file system (FAT) and the root file system
// (SquashFS) that `gok overwrite` makes.
type Images struct {
	Boot *io.SectionReader
	Root *io.SectionReader

	files []*os.File
}

// OpenGAF opens a gokrazy archive, as made by `gok overwrite --gaf`: a zip file that
// holds boot.img and root.img uncompressed. Close it after use.
func OpenGAF(path string) (*Images, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the gokrazy archive: %w", err)
	}
	im := &Images{files: []*os.File{f}}
	if err := im.readGAF(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is not a gokrazy archive (make one with `gok overwrite --gaf`): %w", path, err), im.Close())
	}
	return im, nil
}

func (im *Images) readGAF(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(f, st.Size())
	if err != nil {
		return err
	}
	for _, want := range []struct {
		name string
		dst  **io.SectionReader
	}{{"boot.img", &im.Boot}, {"root.img", &im.Root}} {
		for _, zf := range z.File {
			if zf.Name != want.name {
				continue
			}
			if zf.Method != zip.Store {
				return fmt.Errorf("its %s is compressed", want.name)
			}
			offset, err := zf.DataOffset()
			if err != nil {
				return err
			}
			*want.dst = io.NewSectionReader(f, offset, int64(zf.UncompressedSize64))
		}
		if *want.dst == nil {
			return fmt.Errorf("it holds no %s", want.name)
		}
	}
	return nil
}

// OpenImages opens a boot and a root image, as made by `gok overwrite --boot --root`.
// Close them after use.
func OpenImages(boot, root string) (*Images, error) {
	im := &Images{}
	for _, want := range []struct {
		path string
		dst  **io.SectionReader
	}{{boot, &im.Boot}, {root, &im.Root}} {
		f, err := os.Open(want.path)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening a gokrazy image: %w", err), im.Close())
		}
		im.files = append(im.files, f)
		st, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, im.Close())
		}
		*want.dst = io.NewSectionReader(f, 0, st.Size())
	}
	return im, nil
}

// Close closes the files behind the images.
func (im *Images) Close() error {
	var errs []error
	for _, f := range im.files {
		errs = append(errs, f.Close())
	}
	im.files = nil
	return errors.Join(errs...)
}
