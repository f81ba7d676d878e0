package repack

import (
	"fmt"

	"github.com/openseastack/netboot-imager/internal/ptable"
	"github.com/openseastack/netboot-imager/internal/source"
)

// NotImageError is returned for what stations would refuse to write.
type NotImageError struct{ Why string }

func (e *NotImageError) Error() string {
	return e.Why + "; stations refuse to write it. With -force it is repacked all the same"
}

// recognise reads the partition table in an image's first MiB. Sectors are taken to have
// 512 bytes where the table does not say it.
func recognise(head []byte) (*ptable.Table, *NotImageError) {
	table, err := ptable.Parse(head, 512)
	if err == nil {
		return table, nil
	}
	if what := source.Identify(head); what != "" {
		return nil, &NotImageError{"not a disk image: it is " + what}
	}
	return nil, &NotImageError{"not a disk image: " + err.Error()}
}

// complete makes sure that an image of size bytes holds all its partitions.
func complete(table *ptable.Table, size int64) *NotImageError {
	if end := max(table.End(), table.AlternateEnd); end > size {
		return &NotImageError{fmt.Sprintf("the image is truncated: it has %d bytes, but its partition table reaches to byte %d", size, end)}
	}
	return nil
}
