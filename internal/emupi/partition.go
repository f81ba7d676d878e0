package emupi

import (
	"encoding/binary"
	"fmt"
	"io"
)

// firstPartition returns where the first partition begins, in bytes from the start of
// the disk, whose blocks have 512 bytes. A protective entry (type ee) leads to the GPT
// (UEFI specification, section 5.3).
func firstPartition(disk io.ReaderAt) (int64, error) {
	const sector = 512
	var mbr [sector]byte
	if _, err := disk.ReadAt(mbr[:], 0); err != nil {
		return 0, fmt.Errorf("reading the card: %w", err)
	}
	if mbr[510] != 0x55 || mbr[511] != 0xaa {
		return 0, errNoPartition
	}
	le := binary.LittleEndian
	protective := false
	for i := range 4 {
		e := mbr[446+16*i:]
		switch kind, start := e[4], le.Uint32(e[8:]); {
		case kind == 0xee:
			protective = true
		case kind != 0 && start != 0:
			return int64(start) * sector, nil
		}
	}
	if !protective {
		return 0, errNoPartition
	}
	var gpt [sector]byte
	if _, err := disk.ReadAt(gpt[:], sector); err != nil {
		return 0, fmt.Errorf("reading the card's GPT: %w", err)
	}
	if string(gpt[:8]) != "EFI PART" {
		return 0, errNoPartition
	}
	var e [128]byte
	if _, err := disk.ReadAt(e[:], int64(le.Uint64(gpt[72:])%(1<<32))*sector); err != nil {
		return 0, fmt.Errorf("reading the card's GPT: %w", err)
	}
	start := int64(le.Uint64(e[32:]) % (1 << 40))
	if start == 0 {
		return 0, errNoPartition
	}
	return start * sector, nil
}
