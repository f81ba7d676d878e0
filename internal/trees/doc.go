// Package trees keeps the netboot trees that a boot server has, the one that it serves,
// and the stations that it serves them to. All of it is a directory that a TFTP server
// has as its root:
//
//	current -> trees/0002-20261126T041148Z   the switch is the rename of this link
//	bootcode.bin -> current/bootcode.bin     a Pi 3's boot ROM asks for it here
//	1234abcd -> current/common               one for each enrolled station
//	trees/0001-20261125T120000Z/             a tree, as package netboot makes it
//	trees/0002-20261126T041148Z/
//
// A Pi whose directory is not there is answered "file not found" and goes on to its next
// boot device. Nothing else that boot loaders ask for is ever at the root.
package trees
