package ptable_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/flashtest"
	. "github.com/openseastack/netboot-imager/internal/ptable"
)

// sfdisk has the real tool write a table and returns the disk's first MiB.
func sfdisk(t testing.TB, script string, args ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1<<30); err != nil {
		t.Fatal(err)
	}
	flashtest.Pipe(t, []byte(script), "sfdisk", append(args, "-q", file)...)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := make([]byte, HeadSize)
	if _, err := f.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	return head
}

const (
	mbrScript = "label: dos\nlabel-id: 0xdeadbeef\nstart=8192, size=65536, type=c, bootable\nstart=73728, size=409600, type=83\n"
	gptScript = "label: gpt\nlabel-id: 60C24CC1-F3F9-427A-8199-2E18C40C0001\nstart=2048, size=65536, type=U, uuid=60C24CC1-F3F9-427A-8199-2E18C40C0002, name=boot\nstart=67584, size=409600, type=L, name=röot\n"
)

func TestSfdisk(t *testing.T) {
	tests := []struct {
		script string
		args   []string
		want   string
	}{
		{mbrScript, nil, "mbr 512 deadbeef [{1 4194304 33554432 0c deadbeef-01 } {2 37748736 209715200 83 deadbeef-02 }]"},
		{gptScript, nil, "gpt 512 60c24cc1-f3f9-427a-8199-2e18c40c0001 [{1 1048576 33554432 c12a7328-f81f-11d2-ba4b-00a0c93ec93b 60c24cc1-f3f9-427a-8199-2e18c40c0002 boot} {2 34603008 209715200"},
		{"label: gpt\nstart=256, size=8192, type=U\n", []string{"--sector-size", "4096"}, "gpt 4096"},
	}
	for _, tt := range tests {
		if len(tt.args) > 0 && !strings.Contains(flashtest.Run(t, "sfdisk", "--help"), "--sector-size") {
			continue // util-linux before 2.40; TestGPT4096 makes one by hand
		}
		table, err := Parse(sfdisk(t, tt.script, tt.args...), 512)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(table.Kind, " ", table.SectorSize, " ", table.ID, " ", table.Partitions)
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
		if table.Kind == GPT && table.SectorSize == 512 && (table.AlternateEnd != 1<<30 || table.Partitions[1].Name != "röot") {
			t.Errorf("backup ends at %d, names %q", table.AlternateEnd, table.Partitions[1].Name)
		}
	}
}

// gpt4096 moves a GPT of 512-byte sectors to where it is with 4096.
func gpt4096(head []byte) []byte {
	out := make([]byte, len(head))
	copy(out, head[:512])
	copy(out[4096:], head[512:1024])
	copy(out[2*4096:], head[1024:1024+128*128])
	return out
}

func TestGPT4096(t *testing.T) {
	table, err := Parse(gpt4096(sfdisk(t, gptScript)), 512)
	if err != nil || table.SectorSize != 4096 || table.Partitions[0].Start != 2048*4096 {
		t.Errorf("got %+v, %v", table, err)
	}
}

func TestInvalid(t *testing.T) {
	mbr, gpt := sfdisk(t, mbrScript), sfdisk(t, gptScript)
	edit := func(b []byte, f func(b []byte)) []byte {
		b = bytes.Clone(b)
		f(b)
		return b
	}
	tests := []struct {
		name string
		head []byte
		want string // "" for ErrNone
	}{
		{"empty", nil, ""},
		{"short", mbr[:511], ""},
		{"zeros", make([]byte, HeadSize), ""},
		{"signature only", edit(make([]byte, HeadSize), func(b []byte) { b[510], b[511] = 0x55, 0xAA }), ""},
		{"code instead of entries", edit(mbr, func(b []byte) { b[446] = 0x7f }), ""},
		{"FAT", edit(mbr, func(b []byte) { copy(b, "\xeb\x3c\x90"); b[21] = 0xf8; copy(b[54:], "FAT16") }), ""},
		{"NTFS", edit(mbr, func(b []byte) { copy(b[3:], "NTFS    ") }), ""},
		{"partition at 0", edit(mbr, func(b []byte) { clear(b[454:458]) }), "MBR"},
		{"protective without GPT", edit(gpt, func(b []byte) { clear(b[512:1024]) }), "GPT"},
		{"header checksum", edit(gpt, func(b []byte) { b[512+60]++ }), "checksum of its header"},
		{"entries checksum", edit(gpt, func(b []byte) { b[1024+60]++ }), "checksum of its entries"},
		{"header size", edit(gpt, func(b []byte) { b[512+12] = 1 }), "claims"},
		{"entries far away", edit(gpt, func(b []byte) { binary.LittleEndian.PutUint64(b[512+72:], 1<<40); reseal(b) }), "entries"},
		{"too many entries", edit(gpt, func(b []byte) { binary.LittleEndian.PutUint32(b[512+80:], 1<<31); reseal(b) }), "entries"},
		{"entries too small", edit(gpt, func(b []byte) { binary.LittleEndian.PutUint32(b[512+84:], 8); reseal(b) }), "entries"},
		{"entries beyond all numbers", edit(gpt, func(b []byte) {
			binary.LittleEndian.PutUint32(b[512+80:], 0xFFFFFFFF)
			binary.LittleEndian.PutUint32(b[512+84:], 0xFFFFFFF8)
			reseal(b)
		}), "entries"},
		{"wrong place", edit(gpt, func(b []byte) { b[512+24] = 2; reseal(b) }), "sector 2"},
	}
	for _, tt := range tests {
		table, err := Parse(tt.head, 512)
		var ie *InvalidError
		if tt.want == "" && err != ErrNone || tt.want != "" && (!errors.As(err, &ie) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %+v, error %v, want %q", tt.name, table, err, tt.want)
		}
	}
}

// reseal corrects the header's checksum.
func reseal(b []byte) {
	h := b[512:]
	clear(h[16:20])
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
}

// A GPT that the MBR does not announce is a left-over, as Linux has it.
func TestHiddenGPT(t *testing.T) {
	head := sfdisk(t, gptScript)
	flashtest.MBR(head, 2048, 4096)
	table, err := Parse(head, 512)
	if err != nil || table.Kind != MBR || len(table.Partitions) != 1 {
		t.Errorf("got %+v, %v", table, err)
	}
}

func FuzzParse(f *testing.F) {
	mbr, gpt := sfdisk(f, mbrScript), sfdisk(f, gptScript)
	f.Add(mbr[:512], int64(512))
	f.Add(mbr[:512], int64(4096))
	f.Add(gpt[:1024+16384], int64(512))
	f.Add(gpt4096(gpt)[:3*4096+16384], int64(4096))
	f.Fuzz(func(t *testing.T, head []byte, sector int64) {
		if sector != 512 && sector != 4096 {
			return
		}
		// Checksums that hold let the fuzzer get behind them.
		for _, s := range []int{512, 4096} {
			if len(head) >= s+512 && string(head[s:s+8]) == "EFI PART" {
				head = bytes.Clone(head)
				at, n, width := binary.LittleEndian.Uint64(head[s+72:])*uint64(s), binary.LittleEndian.Uint32(head[s+80:]), binary.LittleEndian.Uint32(head[s+84:])
				if size := uint64(n) * uint64(width); at <= uint64(len(head)) && size <= uint64(len(head))-at {
					binary.LittleEndian.PutUint32(head[s+88:], crc32.ChecksumIEEE(head[at:at+size]))
				}
				binary.LittleEndian.PutUint32(head[s+12:], 92)
				reseal(head[s-512:])
			}
		}
		table, err := Parse(head, sector)
		if err != nil {
			return
		}
		for _, p := range table.Partitions {
			if p.Number < 1 || p.Start < 512 || p.Size <= 0 || p.End() <= p.Start || p.End() > table.End() {
				t.Errorf("partition %+v of %+v", p, table)
			}
		}
	})
}
