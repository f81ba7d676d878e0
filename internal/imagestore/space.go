package imagestore

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SpaceError is an upload that the file system has no room for.
type SpaceError struct{ Need, Free, Reserve int64 }

func (e *SpaceError) Error() string {
	return fmt.Sprintf("the upload needs %d more bytes and %d are free, of which %d are kept free; delete images or give the server a larger disk", e.Need, e.Free, e.Reserve)
}

// Free is how many bytes the file system of the images has room for.
func (s *Store) Free() (int64, error) {
	dir, err := s.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return 0, fmt.Errorf("asking for the free space of the images' file system: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}
