package netboot

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// gok compiles the time of a build into the init that it generates, as
//
//	var buildTimestamp = "2006-01-02T15:04:05Z"
//
// (internal/packer/buildinit.go in github.com/gokrazy/tools), and shows it nowhere else.
// Such a variable is a pointer and a length in the program's data, and that is what tells
// the build's time from other times that a program may hold.
var timestampRE = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)`)

// BuildTimestamp returns the time of the build out of gokrazy's init, as gok writes it
// (RFC 3339): what a running system shows, and what `gok update` waits for.
func BuildTimestamp(init []byte) (string, error) {
	f, err := elf.NewFile(bytes.NewReader(init))
	if err != nil {
		return "", fmt.Errorf("gokrazy's init: %w", err)
	}
	if f.Class != elf.ELFCLASS64 {
		return "", errors.New("gokrazy's init is not a 64-bit program")
	}
	var data [][]byte // what holds variables
	for _, s := range f.Sections {
		if s.Type == elf.SHT_PROGBITS && s.Flags&elf.SHF_ALLOC != 0 && s.Flags&elf.SHF_EXECINSTR == 0 {
			b, err := s.Data()
			if err != nil {
				return "", fmt.Errorf("gokrazy's init: section %s: %w", s.Name, err)
			}
			data = append(data, b)
		}
	}
	var found []string
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return "", fmt.Errorf("gokrazy's init: %w", err)
		}
		for _, at := range timestampRE.FindAllIndex(b, -1) {
			s := string(b[at[0]:at[1]])
			if _, err := time.Parse(time.RFC3339, s); err != nil || slices.Contains(found, s) {
				continue
			}
			header := make([]byte, 16)
			f.ByteOrder.PutUint64(header, p.Vaddr+uint64(at[0]))
			f.ByteOrder.PutUint64(header[8:], uint64(len(s)))
			if slices.ContainsFunc(data, func(d []byte) bool { return containsAligned(d, header) }) {
				found = append(found, s)
			}
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("gokrazy's init holds %d build times, want one: %q", len(found), found)
	}
	return found[0], nil
}

// containsAligned reports whether what is in data at a multiple of eight.
func containsAligned(data, what []byte) bool {
	for at := 0; ; {
		i := bytes.Index(data[at:], what)
		if i < 0 {
			return false
		}
		if at += i; at%8 == 0 {
			return true
		}
		at++
	}
}
