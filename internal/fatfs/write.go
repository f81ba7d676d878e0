package fatfs

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// File is a file to write.
type File struct {
	Name string // path relative to the root, with slashes
	Data []byte
}

const (
	sector          = 512      // bytes
	writeCluster    = 4        // sectors
	writeReserved   = 4        // sectors
	writeFATs       = 2        // as every reader expects
	writeRoot       = 512      // entries
	minSize         = 16 << 20 // bytes
	maxSize         = 128 << 20
	clusterBytes    = writeCluster * sector
	rootSectors     = writeRoot * dirEntrySize / sector
	endOfChain      = 0xffff
	fixedDisk       = 0xf8
	fat16FirstDate  = 1<<5 | 1 // 1980-01-01, the format's zero
	firstDataNumber = 2        // of a cluster
)

// Size returns a size in bytes, a whole number of MiB, that holds the files: what
// Write should be given.
func Size(files []File) int64 {
	data := int64(0)
	for _, f := range files {
		data += (int64(len(f.Data)) + clusterBytes - 1) / clusterBytes * clusterBytes
		data += 4 * dirEntrySize // a directory entry with a long name; rarely more
	}
	const meta = (writeReserved + rootSectors) * sector
	fat := data / clusterBytes * 2 * writeFATs
	const mib = 1 << 20
	return max((data+data/256+fat+meta+2*mib-1)/mib*mib, minSize)
}

// Write makes a FAT16 file system of size bytes, between 16 and 128 MiB, at offset 0
// of w, which must read as zeros. All times are FAT's zero, so the same files give the
// same bytes.
//
// There is a writer of its own here because go-diskfs 1.9.4 loses a cluster in each
// FAT16 file system and takes the times of directories from the clock.
func Write(w io.WriterAt, size int64, label string, files []File) error {
	if size < minSize || size > maxSize || size%sector != 0 {
		return fmt.Errorf("a FAT16 file system of %d bytes: it must have %d to %d", size, minSize, maxSize)
	}
	sectors := size / sector
	fatSectors := (sectors/writeCluster*2 + sector - 1) / sector
	v := &volume{
		w:          w,
		fat:        make([]byte, fatSectors*sector),
		dataOffset: (writeReserved + writeFATs*fatSectors + rootSectors) * sector,
		next:       firstDataNumber,
		root:       &dir{},
	}
	v.clusters = int((size - v.dataOffset) / clusterBytes)
	binary.LittleEndian.PutUint16(v.fat[0:], 0xff00|fixedDisk)
	binary.LittleEndian.PutUint16(v.fat[2:], endOfChain)
	v.root.addLabel(label)
	for _, f := range files {
		if err := v.add(f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return v.finish(sectors, fatSectors, label)
}

// volume is a file system being written.
type volume struct {
	// config
	w          io.WriterAt
	dataOffset int64
	clusters   int

	// state
	fat  []byte
	next int // the first free cluster
	root *dir
}

// add writes a file's data and enters it into its directory, which is made if it is
// not there.
func (v *volume) add(f File) error {
	parts := strings.Split(f.Name, "/")
	d := v.root
	for _, p := range parts[:len(parts)-1] {
		sub, ok := d.subs[p]
		if !ok {
			sub = &dir{}
			d.addSub(p, sub)
		}
		d = sub
	}
	cluster, err := v.store(f.Data)
	if err != nil {
		return err
	}
	return d.addEntry(parts[len(parts)-1], 0, cluster, len(f.Data))
}

// store writes data to the next free clusters and returns the first one's number, 0
// for no data.
func (v *volume) store(data []byte) (int, error) {
	n := (len(data) + clusterBytes - 1) / clusterBytes
	if n == 0 {
		return 0, nil
	}
	first := v.next
	if first-firstDataNumber+n > v.clusters {
		return 0, fmt.Errorf("no room: %d of %d clusters are used and %d are needed", first-firstDataNumber, v.clusters, n)
	}
	if _, err := v.w.WriteAt(data, v.dataOffset+int64(first-firstDataNumber)*clusterBytes); err != nil {
		return 0, err
	}
	for c := first; c < first+n-1; c++ {
		binary.LittleEndian.PutUint16(v.fat[2*c:], uint16(c+1))
	}
	binary.LittleEndian.PutUint16(v.fat[2*(first+n-1):], endOfChain)
	v.next += n
	return first, nil
}

// storeDirs writes the directories below d, deepest first, and enters their clusters
// into their parents; dot-dot is 0, which is right for the root's children.
func (v *volume) storeDirs(d *dir) error {
	for _, name := range d.order {
		sub := d.subs[name]
		if len(sub.subs) > 0 {
			return fmt.Errorf("directory %s: a boot partition has one level of directories", name)
		}
		first := v.next
		entries := append(dotEntry(".", first), dotEntry("..", 0)...)
		if _, err := v.store(append(entries, sub.entries...)); err != nil {
			return fmt.Errorf("directory %s: %w", name, err)
		}
		if err := d.addEntry(name, attrDirectory, first, 0); err != nil {
			return err
		}
	}
	return nil
}

func (v *volume) finish(sectors, fatSectors int64, label string) error {
	if err := v.storeDirs(v.root); err != nil {
		return err
	}
	if len(v.root.entries) > writeRoot*dirEntrySize {
		return fmt.Errorf("the root directory has more than %d entries", writeRoot)
	}
	writes := []struct {
		data []byte
		at   int64 // sector
	}{
		{bootSector(sectors, fatSectors, label), 0},
		{v.fat, writeReserved},
		{v.fat, writeReserved + fatSectors},
		{v.root.entries, writeReserved + writeFATs*fatSectors},
	}
	for _, wr := range writes {
		if _, err := v.w.WriteAt(wr.data, wr.at*sector); err != nil {
			return err
		}
	}
	return nil
}

func bootSector(sectors, fatSectors int64, label string) []byte {
	le := binary.LittleEndian
	b := make([]byte, sector)
	copy(b, "\xeb\x3c\x90NETBOOT ")
	le.PutUint16(b[11:], sector)
	b[13] = writeCluster
	le.PutUint16(b[14:], writeReserved)
	b[16] = writeFATs
	le.PutUint16(b[17:], writeRoot)
	if sectors < 1<<16 {
		le.PutUint16(b[19:], uint16(sectors))
	} else {
		le.PutUint32(b[32:], uint32(sectors))
	}
	b[21] = fixedDisk
	le.PutUint16(b[22:], uint16(fatSectors))
	le.PutUint16(b[24:], 63)  // sectors per track, for BIOSes
	le.PutUint16(b[26:], 255) // heads
	b[36] = 0x80              // drive number, for BIOSes
	b[38] = 0x29              // the next three fields are there
	le.PutUint32(b[39:], 0x4e424f49)
	copy(b[43:], fmt.Sprintf("%-11.11s", label))
	copy(b[54:], "FAT16   ")
	b[510], b[511] = 0x55, 0xaa
	return b
}
