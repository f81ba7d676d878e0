// Package emupi plays a Raspberry Pi: first its boot loader, which QEMU does not have,
// and then, with exactly the files that boot loader fetched, QEMU.
//
// The boot loader fetches over real TFTP what its model fetches, in that model's
// order, with its rules for the directory named after the serial number and for
// config.txt, or it reads the same from a card's FAT partition. A tree that lacks a
// file fails here as it would fail on a real Pi, with words where a Pi blinks.
//
// The orders of requests are those that dnsmasq and tftpd logged for a Pi 3B+, a Pi 4
// and a CM5 in public reports; for the Pi 5 the place of the initramfs and the device
// tree is inferred. config.txt is Raspberry Pi's documentation, "config.txt" and
// "Conditional filters".
package emupi
