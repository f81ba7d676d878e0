package imagestore

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// suffixes of image files by preference: a compressed image is less to download. They
// only choose between files; what is in a file is recognised by content where it is
// written.
var suffixes = []string{
	".img.gz", ".img.zst", ".img.xz", ".img.bz2", ".wic.gz", ".wic.zst", ".wic.xz", ".wic.bz2",
	".gz", ".zst", ".xz", ".bz2", ".img", ".wic", ".raw",
}

// sidecarSuffix is that of a file that holds an image's SHA-256, as sha256sum prints it.
const sidecarSuffix = ".sha256"

// NameError is a name that no image can have.
type NameError struct{ Name, Why string }

func (e *NameError) Error() string {
	return fmt.Sprintf("image name %q %s; use a plain file name like test-image.img.gz", e.Name, e.Why)
}

// checkName refuses what is not one plain file name, hidden files, and sidecars.
func checkName(name string) error {
	switch {
	case name == "":
		return &NameError{name, "is empty"}
	case len(name) > 200:
		return &NameError{name, "is longer than 200 bytes"}
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return &NameError{name, "has characters that cannot be shown"}
	case strings.ContainsAny(name, `/\`):
		return &NameError{name, "is a path"}
	case name[0] == '.' || name[0] == '-':
		return &NameError{name, "begins with a dot or a dash"}
	case strings.HasSuffix(name, sidecarSuffix):
		return &NameError{name, "is that of a checksum, not of an image"}
	}
	return nil
}

// stem is the name without the suffix that an image is asked for by.
func stem(file string) string {
	for _, s := range suffixes {
		if rest, ok := strings.CutSuffix(file, s); ok && rest != "" {
			return rest
		}
	}
	return file
}

// candidates are the files that name may mean, best first.
func candidates(name string) []string {
	if stem(name) != name { // a file's whole name
		return []string{name}
	}
	var files []string
	for _, s := range suffixes {
		files = append(files, name+s)
	}
	return append(files, name)
}
