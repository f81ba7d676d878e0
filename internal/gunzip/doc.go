// Package gunzip reads gzip files (RFC 1952) as a disk image needs it: fast, and
// with no way to take a damaged file for a whole one.
//
// A file is one member or more, one after the other, and what they hold belongs
// together. Length and CRC-32 of each are checked, the CRC of the header where
// there is one, and after the last member there may only be zeros (tapes and some
// servers pad with them). Anything else there is an error, and so is an end at
// any other place.
//
// The members of BGZF files (bgzip, and tools/repack here) carry their compressed
// size in the header, in the extra field "BC" of the SAM specification
// (section 4.1). So they can be found without decoding, and are decoded in
// parallel, each straight to its place in the caller's buffer.
package gunzip
