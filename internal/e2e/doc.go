// Package e2e tests the appliance as a whole: built by gok, made into a tree by
// mknetboot, fetched by an emulated Raspberry Pi from a real TFTP server, started in
// QEMU, and told over HTTP to write a disk, from which it then boots. It holds tests
// alone.
package e2e
