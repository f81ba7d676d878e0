// Package netboot turns a gokrazy build into what a Raspberry Pi netboots from: a
// tree of firmware, device trees, kernel, one initramfs and the two text files that
// tie them together, plus a boot.img that holds the same in a single file.
//
// The station runs from that initramfs alone. gokrazy's own init is process 1, its
// root file system is the initramfs, and no disk is ever mounted, so that every disk
// may be written.
//
// What boot loaders read, in which order, and what bounds they set is in Raspberry
// Pi's documentation ("Raspberry Pi boot modes", "config.txt") and in the release
// notes of github.com/raspberrypi/rpi-eeprom.
package netboot
