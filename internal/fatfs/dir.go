package fatfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

const (
	dirEntrySize = 32
	maxDir       = 65536 * dirEntrySize // bytes: what the format allows for one directory
	maxDepth     = 32                   // levels of directories; boot partitions have two

	attrVolumeID  = 0x08
	attrDirectory = 0x10
	attrLongName  = 0x0f
)

var errLoop = errors.New("the file allocation table is damaged: a chain of clusters does not end")

// entry is one file or directory.
type entry struct {
	name    string // the long name if there is one
	short   string
	isDir   bool
	cluster uint32
	size    uint32 // bytes
}

func find(entries []entry, name string) (entry, bool) {
	for _, e := range entries {
		if strings.EqualFold(e.name, name) || strings.EqualFold(e.short, name) {
			return e, true
		}
	}
	return entry{}, false
}

func (f *FS) root() ([]entry, error) {
	if f.bits == 32 {
		b, err := f.chain(f.rootCluster, maxDir)
		if err != nil {
			return nil, fmt.Errorf("reading the root directory: %w", err)
		}
		return parseDir(b), nil
	}
	b := make([]byte, f.rootSize)
	if _, err := f.r.ReadAt(b, f.rootOffset); err != nil {
		return nil, fmt.Errorf("reading the root directory: %w", err)
	}
	return parseDir(b), nil
}

// parseDir returns the files and directories in b, without "." and "..".
func parseDir(b []byte) []entry {
	var entries []entry
	var long []uint16
	for ; len(b) >= dirEntrySize; b = b[dirEntrySize:] {
		e := b[:dirEntrySize]
		switch {
		case e[0] == 0: // the end
			return entries
		case e[0] == 0xe5: // deleted
			long = nil
			continue
		case e[11]&0x3f == attrLongName:
			long = append(longNamePart(e), long...) // the last part comes first
			continue
		case e[11]&attrVolumeID != 0:
			long = nil
			continue
		}
		short := shortName(e)
		if short != "." && short != ".." {
			name := short
			if len(long) > 0 {
				name = string(utf16.Decode(long))
			}
			entries = append(entries, entry{
				name:    name,
				short:   short,
				isDir:   e[11]&attrDirectory != 0,
				cluster: uint32(binary.LittleEndian.Uint16(e[20:]))<<16 | uint32(binary.LittleEndian.Uint16(e[26:])),
				size:    binary.LittleEndian.Uint32(e[28:]),
			})
		}
		long = nil
	}
	return entries
}

// longNamePart returns the up to 13 UTF-16 units of a long name entry.
func longNamePart(e []byte) []uint16 {
	part := make([]uint16, 0, 13)
	for _, span := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := span[0]; i < span[1]; i += 2 {
			u := binary.LittleEndian.Uint16(e[i:])
			if u == 0 || u == 0xffff {
				return part
			}
			part = append(part, u)
		}
	}
	return part
}

func shortName(e []byte) string {
	base := strings.TrimRight(string(e[:8]), " ")
	ext := strings.TrimRight(string(e[8:11]), " ")
	if e[12]&0x08 != 0 { // the base is in lower case (Windows NT)
		base = strings.ToLower(base)
	}
	if e[12]&0x10 != 0 {
		ext = strings.ToLower(ext)
	}
	if ext == "" {
		return base
	}
	return base + "." + ext
}

// chain reads the clusters of a file from its first on, until the chain ends or
// limit bytes are there.
func (f *FS) chain(cluster uint32, limit int64) ([]byte, error) {
	var out []byte
	for n := uint32(0); int64(len(out)) < limit; n++ {
		if n > f.clusters {
			return nil, errLoop
		}
		if cluster < 2 || cluster-2 >= f.clusters {
			return nil, fmt.Errorf("the file allocation table is damaged: it names cluster %d of %d", cluster, f.clusters)
		}
		at := len(out)
		out = append(out, make([]byte, f.clusterSize)...)
		if _, err := f.r.ReadAt(out[at:], f.dataOffset+int64(cluster-2)*f.clusterSize); err != nil && err != io.EOF {
			return nil, err
		}
		next, end, err := f.next(cluster)
		if err != nil {
			return nil, err
		}
		if end {
			break
		}
		cluster = next
	}
	return out, nil
}

// next looks a cluster up in the first file allocation table.
func (f *FS) next(cluster uint32) (next uint32, end bool, err error) {
	offset := int64(cluster) * int64(f.bits) / 8
	if offset+4 > f.bytesInAllFATs+2 {
		return 0, false, fmt.Errorf("the file allocation table ends before cluster %d", cluster)
	}
	var b [4]byte
	if _, err := f.r.ReadAt(b[:f.bits/8+f.bits%8/4], f.fatOffset+offset); err != nil {
		return 0, false, err
	}
	v := binary.LittleEndian.Uint32(b[:])
	switch f.bits {
	case 12:
		if cluster%2 == 1 {
			v >>= 4
		}
		v &= 0xfff
		return v, v >= 0xff8, nil
	case 16:
		return v, v >= 0xfff8, nil
	default:
		v &= 0x0fffffff
		return v, v >= 0x0ffffff8, nil
	}
}
