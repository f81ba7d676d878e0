// Package unxz decompresses .xz files about as fast as liblzma does: the
// container of the .xz file format 1.2.1, LZMA2, Delta and the branch filters
// for x86 and ARM, with every check, header, index and footer verified.
//
// Files of many blocks that say how long they are (xz -T writes such) are
// decoded with several blocks at once, as many as the bound on memory lets
// through; all others as a stream, one goroutine decoding ahead of Read.
//
// Section numbers in comments are those of the .xz file format,
// https://tukaani.org/xz/xz-file-format.txt.
package unxz
