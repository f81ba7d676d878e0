"""liblzma as an oracle for the fuzz tests: UNXZ_ORACLE="python3 testdata/oracle.py".

Requests and answers are a byte, a length (32 bits, little-endian) and as many
bytes. The byte of a request is 255 for an xz file, or else the size of the
dictionary of raw LZMA2 data as a block header writes it. That of the answer is
1 if liblzma decodes all of it, and 0 if not. What follows is the output, and
after raw data, in its first four bytes, how much input that took.
"""
import lzma
import struct
import sys

MEMORY = 64 << 20


def decode_file(data):
    out, first = b"", True
    while True:
        padding = 0 if first else len(data) - len(data.lstrip(b"\0"))
        data = data[padding:]
        if not data and not first:
            return out
        if padding % 4:
            raise lzma.LZMAError("padding")
        d = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
        out += d.decompress(data)
        if not d.eof:
            raise lzma.LZMAError("truncated")
        data, first = d.unused_data, False


def decode_raw(data, code):
    size = (2 | code & 1) << (code // 2 + 11)
    d = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": size}])
    out = d.decompress(data)
    if not d.eof:
        raise lzma.LZMAError("truncated")
    return struct.pack("<I", len(data) - len(d.unused_data)) + out


while head := sys.stdin.buffer.read(5):
    kind, size = struct.unpack("<BI", head)
    data = sys.stdin.buffer.read(size)
    ok, out = 1, b""
    try:
        out = decode_file(data) if kind == 255 else decode_raw(data, kind)
    except (lzma.LZMAError, EOFError):
        ok = 0
    sys.stdout.buffer.write(struct.pack("<BI", ok, len(out)) + out)
    sys.stdout.buffer.flush()
