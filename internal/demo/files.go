package demo

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
)

func splitAddr(addr string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(addr)
	if err != nil {
		return "", "", fmt.Errorf("address %s: %w", addr, err)
	}
	return host, port, nil
}

// moveInto moves everything in src into dst.
func moveInto(src, dst string) error {
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(src, e.Name()), filepath.Join(dst, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(src)
}

// beginsWith says whether a disk begins with an image.
func beginsWith(disk, image string) (bool, error) {
	d, err := os.Open(disk)
	if err != nil {
		return false, err
	}
	defer d.Close()
	i, err := os.Open(image)
	if err != nil {
		return false, err
	}
	defer i.Close()
	got, want := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(i, want)
		if err == io.EOF {
			return true, nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return false, err
		}
		if _, err := io.ReadFull(d, got[:n]); err != nil {
			return false, fmt.Errorf("reading the disk: %w", err)
		}
		if !bytes.Equal(got[:n], want[:n]) {
			return false, nil
		}
	}
}
