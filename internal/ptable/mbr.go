package ptable

import "bytes"

const (
	mbrEntries = 446  // offset of the four entries
	protective = 0xEE // type of the entry that stands for a GPT
)

// mbrEntry is a used entry of an MBR, in sectors.
type mbrEntry struct {
	number       int
	typ          byte
	start, count uint32
}

// parseMBR reads the four primary entries of a boot sector with the signature 55 AA. A
// FAT file system's boot sector has that signature too, with code where the entries are:
// as in Linux (block/partitions/msdos.c), an entry with a status other than 00 or 80
// means that this is no MBR.
func parseMBR(head []byte) (entries []mbrEntry, isProtective bool, err error) {
	if isFAT(head) {
		return nil, false, ErrNone
	}
	for i := range 4 {
		e := head[mbrEntries+16*i:][:16]
		if e[0]&0x7F != 0 {
			return nil, false, ErrNone
		}
		m := mbrEntry{number: i + 1, typ: e[4], start: le32(e[8:]), count: le32(e[12:])}
		if m.typ == 0 || m.count == 0 {
			continue
		}
		if m.start == 0 {
			return nil, false, &InvalidError{"MBR", "a partition begins in the sector of the table itself"}
		}
		isProtective = isProtective || m.typ == protective
		entries = append(entries, m)
	}
	return entries, isProtective, nil
}

// isFAT reports whether a boot sector is that of a FAT file system without partitions
// (Microsoft's FAT specification: jump instruction, media byte, name of the type).
func isFAT(head []byte) bool {
	jump := head[0] == 0xEB && head[2] == 0x90 || head[0] == 0xE9
	named := bytes.HasPrefix(head[54:], []byte("FAT1")) || bytes.HasPrefix(head[82:], []byte("FAT32")) || bytes.HasPrefix(head[3:], []byte("EXFAT   "))
	return jump && head[21]&0xF0 == 0xF0 && named || bytes.HasPrefix(head[3:], []byte("EXFAT   ")) || bytes.HasPrefix(head[3:], []byte("NTFS    "))
}
