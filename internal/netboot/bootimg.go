package netboot

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/diskfs/go-diskfs/backend"
	diskfile "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/partition/mbr"

	"github.com/openseastack/netboot-imager/internal/fatfs"
)

const (
	mib = 1 << 20
	// partitionStart is where the card's only partition begins, in bytes: 4 MiB, on
	// every card's erase block boundary.
	partitionStart = 4 * mib
	// maxBootImg is the largest boot.img in bytes that boot loaders load (Pi 4, since
	// 2022-03-10).
	maxBootImg = 128 * mib
	label      = "NETBOOTIMG"
)

// writeBootImg makes a FAT16 file system of the files at name.
func writeBootImg(name string, files []fatfs.File) error {
	size := fatfs.Size(files)
	if size > maxBootImg {
		return fmt.Errorf("boot.img would have %d MiB, and boot loaders load at most %d", size/mib, maxBootImg/mib)
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("creating boot.img: %w", err)
	}
	if err := f.Truncate(size); err != nil {
		return errors.Join(fmt.Errorf("creating boot.img: %w", err), f.Close())
	}
	if err := fatfs.Write(f, size, label, files); err != nil {
		return errors.Join(fmt.Errorf("making boot.img: %w", err), f.Close())
	}
	return f.Close()
}

// writeSDCard makes the image of an SD card or USB stick: a partition table and
// boot.img in its one partition. Its size is a power of two, which QEMU's emulated
// cards must have.
func writeSDCard(name, bootImg string) (err error) {
	boot, err := os.Open(bootImg)
	if err != nil {
		return err
	}
	defer boot.Close()
	info, err := boot.Stat()
	if err != nil {
		return err
	}
	size := int64(64 * mib)
	for size < partitionStart+info.Size() {
		size *= 2
	}
	st, err := diskfile.CreateFromPath(name, size)
	if err != nil {
		return fmt.Errorf("creating the card's image: %w", err)
	}
	defer closeInto(st, &err)
	w, err := st.Writable()
	if err != nil {
		return err
	}
	table := &mbr.Table{
		LogicalSectorSize:  512,
		PhysicalSectorSize: 512,
		Partitions: []*mbr.Partition{{
			Index: 1,
			Type:  mbr.Fat16bLBA,
			Start: partitionStart / 512,
			Size:  uint32(info.Size() / 512),
		}},
	}
	if err := table.Write(w, size); err != nil {
		return fmt.Errorf("writing the card's partition table: %w", err)
	}
	if _, err := io.Copy(io.NewOffsetWriter(w, partitionStart), boot); err != nil {
		return fmt.Errorf("writing the card's partition: %w", err)
	}
	return nil
}

func closeInto(st backend.Storage, err *error) {
	if cerr := st.Close(); *err == nil {
		*err = cerr
	}
}
