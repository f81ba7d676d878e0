// Package lab makes the network that an emulated Raspberry Pi is on: a network
// namespace with a bridge, a tap device for the Pi and dnsmasq for DHCP and TFTP; or,
// for who is not root, QEMU's user network and a TFTP server on the loopback
// interface.
package lab
