// Package mutant is put into the mutated imager by the overlay of a test: it says which
// defect is switched on. It is in no program that anybody uses.
package mutant

import "os"

// On reports whether the defect of that name is switched on.
func On(name string) bool { return os.Getenv("MUTANT") == name }
