// Package fatfs reads files out of FAT12, FAT16 and FAT32 file systems: the boot
// partitions that Raspberry Pi boot loaders read.
//
// It exists because no module at hand reads them all: gokrazy's reader looks files
// up by their short names alone, so that bcm2710-rpi-3-b.dtb and
// bcm2710-rpi-3-b-plus.dtb are the same file to it, and go-diskfs takes two file
// allocation tables for granted where gokrazy's images have one.
//
// The format is Microsoft's "FAT: General Overview of On-Disk Format", version 1.03.
package fatfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// maxFile bounds what ReadFile returns, in bytes: twice the 128 MiB that a boot
// loader loads at most, so that a damaged size field cannot exhaust memory.
const maxFile = 256 << 20

// FS is a FAT file system. Its methods only read and may be used by several
// goroutines at a time if the reader it was made from allows that.
type FS struct {
	r io.ReaderAt

	bits           int // 12, 16 or 32
	sectorSize     int64
	clusterSize    int64 // bytes
	fatOffset      int64 // bytes
	rootOffset     int64 // bytes; FAT12 and FAT16
	rootSize       int64 // bytes; FAT12 and FAT16
	rootCluster    uint32
	dataOffset     int64 // bytes
	clusters       uint32
	bytesInAllFATs int64
}

// New reads the boot sector at offset 0 of r and checks that it describes a FAT
// file system.
func New(r io.ReaderAt) (*FS, error) {
	var b [512]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return nil, fmt.Errorf("reading the FAT boot sector: %w", err)
	}
	le := binary.LittleEndian
	if b[510] != 0x55 || b[511] != 0xaa {
		return nil, errors.New("no FAT file system: the boot sector lacks its signature 55 aa")
	}
	f := &FS{
		r:           r,
		sectorSize:  int64(le.Uint16(b[11:])),
		rootCluster: le.Uint32(b[44:]),
	}
	sectorsPerCluster := int64(b[13])
	reserved := int64(le.Uint16(b[14:]))
	fats := int64(b[16])
	rootEntries := int64(le.Uint16(b[17:]))
	total := int64(le.Uint16(b[19:]))
	if total == 0 {
		total = int64(le.Uint32(b[32:]))
	}
	fatSectors := int64(le.Uint16(b[22:]))
	if fatSectors == 0 {
		fatSectors = int64(le.Uint32(b[36:]))
	}
	switch f.sectorSize {
	case 512, 1024, 2048, 4096:
	default:
		return nil, fmt.Errorf("no FAT file system: sectors of %d bytes", f.sectorSize)
	}
	if sectorsPerCluster == 0 || sectorsPerCluster&(sectorsPerCluster-1) != 0 || reserved == 0 || fats == 0 || fatSectors == 0 {
		return nil, errors.New("no FAT file system: the boot sector's geometry makes no sense")
	}
	f.clusterSize = sectorsPerCluster * f.sectorSize
	f.fatOffset = reserved * f.sectorSize
	f.bytesInAllFATs = fatSectors * f.sectorSize
	f.rootOffset = f.fatOffset + fats*f.bytesInAllFATs
	f.rootSize = (rootEntries*dirEntrySize + f.sectorSize - 1) / f.sectorSize * f.sectorSize
	f.dataOffset = f.rootOffset + f.rootSize
	dataSectors := total - f.dataOffset/f.sectorSize
	if dataSectors <= 0 {
		return nil, errors.New("no FAT file system: no room for data")
	}
	f.clusters = uint32(dataSectors / sectorsPerCluster)
	// The number of clusters alone decides the type (section "FAT Type Determination").
	switch {
	case f.clusters < 4085:
		f.bits = 12
	case f.clusters < 65525:
		f.bits = 16
	default:
		f.bits = 32
	}
	return f, nil
}

// ReadFile returns the whole file. The path is relative to the root, with slashes,
// and its case is ignored, as FAT does. A missing file is fs.ErrNotExist.
func (f *FS) ReadFile(name string) ([]byte, error) {
	entries, err := f.root()
	if err != nil {
		return nil, err
	}
	parts := strings.Split(strings.Trim(name, "/"), "/")
	for i, part := range parts {
		e, ok := find(entries, part)
		last := i == len(parts)-1
		if !ok || e.isDir == last {
			return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
		}
		if last {
			return f.contents(e, name)
		}
		b, err := f.chain(e.cluster, maxDir)
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		entries = parseDir(b)
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
}

func (f *FS) contents(e entry, name string) ([]byte, error) {
	if e.size == 0 {
		return []byte{}, nil
	}
	if e.size > maxFile {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("%d bytes are more than a boot loader loads", e.size)}
	}
	b, err := f.chain(e.cluster, int64(e.size))
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	if int64(len(b)) < int64(e.size) {
		return nil, &fs.PathError{Op: "read", Path: name, Err: io.ErrUnexpectedEOF}
	}
	return b[:e.size], nil
}

// Names lists every file in the file system by its path, in directory order.
func (f *FS) Names() ([]string, error) {
	entries, err := f.root()
	if err != nil {
		return nil, err
	}
	return f.names("", entries, 0)
}

func (f *FS) names(dir string, entries []entry, depth int) ([]string, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("directory %s: deeper than %d levels", dir, maxDepth)
	}
	var names []string
	for _, e := range entries {
		if !e.isDir {
			names = append(names, dir+e.name)
			continue
		}
		b, err := f.chain(e.cluster, maxDir)
		if err != nil {
			return nil, fmt.Errorf("directory %s%s: %w", dir, e.name, err)
		}
		below, err := f.names(dir+e.name+"/", parseDir(b), depth+1)
		if err != nil {
			return nil, err
		}
		names = append(names, below...)
	}
	return names, nil
}
