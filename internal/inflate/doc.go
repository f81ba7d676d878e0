// Package inflate decodes raw DEFLATE streams (RFC 1951) several times faster
// than compress/flate, without assembly.
//
// It exists because the decoder is the slowest part of writing a gzip image to a
// disk. Three things make it fast:
//
//   - Output goes straight into the caller's buffer. There is no window between
//     decoder and caller; the last 32 KiB of each Read are kept for matches that
//     reach back before the next one. Large buffers (1 MiB and more) make that
//     copy vanish.
//   - A 64-bit bit buffer is refilled by one unaligned 8-byte load without a
//     branch, and every Huffman symbol is found by one table look-up (two for
//     rare long codes) whose entry holds everything that is to be known of it.
//   - A fast loop runs while input and output have room for the largest
//     symbol; a careful loop does the edges, where every bit is counted.
//
// What is accepted is exactly what compress/flate accepts, which is the oracle
// of the tests and of the fuzz targets. See docs/inflate.md for where that
// differs from zlib.
package inflate
