// Package faults is the fault matrix: everything that can go wrong between an image
// server and a disk, each as a row that is run against the real imager program, and what
// became of it. It has only tests.
//
// A row says what goes wrong, what the imager must answer, and what must be on the disk
// afterwards. Besides, every row is held to what the imager promises always (invariants.go
// has the list): no success over anything but the image, no disk that looks whole
// and is not, no sentence that is not true of the disk.
//
//	go test ./internal/faults                     every row, with samples of the sweeps
//	go test ./internal/faults -args -full -page   everything, and docs/faults.md from it (make faults)
//
// Mutants (mutants_test.go) are builds of the imager with one defect each: that they
// fail shows that the rows can.
package faults
