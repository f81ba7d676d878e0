package fatfs

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// dir is a directory being written.
type dir struct {
	entries []byte
	shorts  map[string]bool
	subs    map[string]*dir
	order   []string // of subs
}

func (d *dir) addSub(name string, sub *dir) {
	if d.subs == nil {
		d.subs = map[string]*dir{}
	}
	d.subs[name] = sub
	d.order = append(d.order, name)
}

func (d *dir) addLabel(label string) {
	d.entries = append(d.entries, rawEntry(fmt.Sprintf("%-11.11s", label), attrVolumeID, 0, 0)...)
}

// addEntry enters a file or directory with a long and a short name.
func (d *dir) addEntry(name string, attr byte, cluster, size int) error {
	short, err := d.shortFor(name)
	if err != nil {
		return err
	}
	d.entries = append(d.entries, longEntries(name, short)...)
	d.entries = append(d.entries, rawEntry(short, attr, cluster, size)...)
	return nil
}

// shortFor makes a short name, eleven characters, that no other file of the directory
// has.
func (d *dir) shortFor(name string) (string, error) {
	base, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		base, ext = name[:i], name[i+1:]
	}
	base, ext = shortChars(base), shortChars(ext)
	ext = fmt.Sprintf("%-3.3s", ext)
	if d.shorts == nil {
		d.shorts = map[string]bool{}
	}
	plain := fmt.Sprintf("%-8.8s%s", base, ext)
	fits := strings.EqualFold(strings.TrimSuffix(strings.TrimRight(plain[:8], " ")+"."+strings.TrimRight(ext, " "), "."), name)
	if fits {
		if d.shorts[plain] {
			return "", fmt.Errorf("%s is there twice", name)
		}
		d.shorts[plain] = true
		return plain, nil
	}
	for n := 1; n < 1000; n++ {
		tail := fmt.Sprintf("~%d", n)
		short := fmt.Sprintf("%-8s%s", base[:min(len(base), 8-len(tail))]+tail, ext)
		if !d.shorts[short] {
			d.shorts[short] = true
			return short, nil
		}
	}
	return "", fmt.Errorf("%s: too many files have names like it", name)
}

func shortChars(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, s)
}

// longEntries are the directory entries of a long name, its last part first.
func longEntries(name, short string) []byte {
	units := utf16.Encode([]rune(name))
	n := (len(units) + 12) / 13
	if len(units)%13 != 0 {
		units = append(units, 0)
	}
	for len(units) < 13*n {
		units = append(units, 0xffff)
	}
	sum := byte(0)
	for i := range 11 {
		sum = sum<<7 | sum>>1
		sum += short[i]
	}
	var out []byte
	for part := n; part >= 1; part-- {
		e := make([]byte, dirEntrySize)
		e[0] = byte(part)
		if part == n {
			e[0] |= 0x40
		}
		e[11] = attrLongName
		e[13] = sum
		u := units[13*(part-1) : 13*part]
		for _, span := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
			for i := span[0]; i < span[1]; i += 2 {
				binary.LittleEndian.PutUint16(e[i:], u[0])
				u = u[1:]
			}
		}
		out = append(out, e...)
	}
	return out
}

func dotEntry(name string, cluster int) []byte {
	return rawEntry(fmt.Sprintf("%-11s", name), attrDirectory, cluster, 0)
}

func rawEntry(name string, attr byte, cluster, size int) []byte {
	e := make([]byte, dirEntrySize)
	copy(e, name)
	e[11] = attr
	for _, date := range []int{16, 18, 24} { // created, read, written
		binary.LittleEndian.PutUint16(e[date:], fat16FirstDate)
	}
	binary.LittleEndian.PutUint16(e[26:], uint16(cluster))
	binary.LittleEndian.PutUint32(e[28:], uint32(size))
	return e
}
