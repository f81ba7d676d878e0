// Package repack turns a disk image in any supported format into one that a station
// decodes as fast as the network delivers it.
//
// Two formats are written. BGZF (section 4.1 of the SAM specification) is gzip in members
// of at most 64 KiB that carry their size, so they are found ahead and decoded on all
// cores, while any gzip tool reads the file; it ends with an empty member that tells a
// whole file from one that was cut off. Zstandard (RFC 8878) is written in frames of 4 MiB
// that carry size and checksum of their content.
//
// What was written is proven before it replaces anything: it is read back from the file,
// decoded by the station's own strict decoders, and must give the SHA-256 that the
// original gave. Sizes are in bytes.
package repack
