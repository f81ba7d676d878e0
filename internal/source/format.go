package source

import (
	"bytes"
	"encoding/binary"
	"regexp"
)

// Formats that are decoded.
const (
	Raw   = "raw"
	Gzip  = "gzip"
	XZ    = "xz"
	Zstd  = "zstd"
	Bzip2 = "bzip2"
)

// sniffSize is how many first bytes Identify wants to see.
const sniffSize = 64 << 10

// compression recognises the formats that are decoded, by content. Anything else is Raw.
func compression(head []byte) string {
	switch {
	case has(head, 0, "\x1f\x8b"):
		return Gzip
	case has(head, 0, "\xfd7zXZ\x00"):
		return XZ
	case has(head, 0, "\x28\xb5\x2f\xfd"), skippable(head):
		return Zstd
	case len(head) >= 10 && has(head, 0, "BZh") && head[3] >= '1' && head[3] <= '9' &&
		(has(head, 4, "\x31\x41\x59\x26\x53\x59") || has(head, 4, "\x17\x72\x45\x38\x50\x90")):
		return Bzip2
	}
	return Raw
}

// skippable reports whether head begins with a skippable frame (RFC 8878, section 3.1.2),
// as pzstd writes in front of each zstd frame. lz4 has them too, but nobody begins with one.
func skippable(head []byte) bool {
	return len(head) >= 4 && binary.LittleEndian.Uint32(head)&^0xF == 0x184D2A50
}

// kinds are things that are no disk image and that people send by mistake, by their
// magic numbers. The name completes "the image is …".
var kinds = []struct {
	at    int
	magic string
	name  string
}{
	{0, "\x1f\x8b", "a gzip file"},
	{0, "\xfd7zXZ\x00", "an xz file"},
	{0, "\x28\xb5\x2f\xfd", "a zstd file"},
	{0, "BZh", "a bzip2 file"},
	{0, "PK\x03\x04", "a zip archive"},
	{0, "PK\x05\x06", "a zip archive"},
	{0, "\x04\x22\x4d\x18", "an lz4 file"},
	{0, "\x02\x21\x4c\x18", "an lz4 file"},
	{0, "LZIP", "an lzip file"},
	{0, "\x5d\x00\x00", "an lzma file"},
	{0, "\x89LZO\x00\r\n\x1a\n", "an lzop file"},
	{0, "\x1f\x9d", "a compress (.Z) file"},
	{0, "\x1f\xa0", "a compress (.Z) file"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive"},
	{0, "Rar!\x1a\x07", "a rar archive"},
	{0, "MSCF", "a cab archive"},
	{257, "ustar", "a tar archive"},
	{0, "070701", "a cpio archive"},
	{0, "070707", "a cpio archive"},
	{0, "!<arch>\n", "an ar archive or Debian package"},
	{0, "\xed\xab\xee\xdb", "an rpm package"},
	{0, "hsqs", "a squashfs file system without a partition table"},
	{0, "sqsh", "a squashfs file system without a partition table"},
	{0, "QFI\xfb", "a qcow2 image; convert it by qemu-img convert -O raw"},
	{0, "KDMV", "a VMDK image; convert it by qemu-img convert -O raw"},
	{0, "vhdxfile", "a VHDX image; convert it by qemu-img convert -O raw"},
	{0, "conectix", "a VHD image; convert it by qemu-img convert -O raw"},
	{0, "\x3a\xff\x26\xed", "an Android sparse image; convert it by simg2img"},
	{0, "\x7fELF", "a program (ELF)"},
	{0, "%PDF-", "a PDF document"},
	{0, "\x89PNG", "a PNG picture"},
	{0, "\xd0\x0d\xfe\xed", "a device tree or FIT image"},
	{0, "#!", "a script"},
	{0, "version https://git-lfs", "a Git LFS pointer, not the file itself"},
	{32769, "CD001", "a CD or DVD image without a partition table"},
	{1080, "\x53\xef", "an ext4 file system without a partition table"},
	{0, "XFSB", "an XFS file system without a partition table"},
	{3, "EXFAT   ", "an exFAT file system without a partition table"},
	{3, "NTFS    ", "an NTFS file system without a partition table"},
	{54, "FAT1", "a FAT file system without a partition table"},
	{82, "FAT32", "a FAT file system without a partition table"},
}

var (
	htmlText = regexp.MustCompile(`(?i)^\s*(<!--[^>]*-->\s*)*<(!doctype\s+html|html|head|body|title|h1)`)
	xmlText  = regexp.MustCompile(`^\s*<\?xml`)
	jsonText = regexp.MustCompile(`^\s*[{[]\s*(["{\[\]}]|$)`)
)

// Identify names what head, the start of something that has no partition table, seems
// to be: "an HTML page", "a tar archive"; "" if it is nothing known.
func Identify(head []byte) string {
	for _, k := range kinds {
		if has(head, k.at, k.magic) {
			return k.name
		}
	}
	text := head[:min(len(head), 1024)]
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	switch {
	case skippable(head):
		return "a zstd file"
	case htmlText.Match(text):
		return "an HTML page; the server has no image at this URL"
	case xmlText.Match(text):
		return "an XML document"
	case jsonText.Match(text):
		return "a JSON document; the server has no image at this URL"
	case len(bytes.Trim(head, "\x00")) == 0:
		return "nothing but zeros at its start"
	case len(text) > 0 && printable(text):
		return "a text"
	}
	return ""
}

// printable reports whether b looks like ASCII text.
func printable(b []byte) bool {
	for _, c := range b {
		if (c < 0x20 || c > 0x7e) && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}

// has reports whether magic stands at offset at of b.
func has(b []byte, at int, magic string) bool {
	return len(b) >= at+len(magic) && string(b[at:at+len(magic)]) == magic
}
