package netboot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Manifest says what is in a tree. It is stored as manifest.json at the tree's root
// and holds nothing that differs between two runs with the same inputs.
type Manifest struct {
	// Layout of the tree.
	Layout Layout `json:"layout"`
	// Boot is the directory that boot loaders read, relative to the root.
	Boot string `json:"boot"`
	// Kernel is the Linux release, such as 6.12.47-v8.
	Kernel string `json:"kernel"`
	// Build is the time of the gokrazy build as `gok update` knows it, RFC 3339; empty if
	// it was not found.
	Build string `json:"build,omitempty"`
	// PayloadBytes is the size of kernel and initramfs, which every station downloads.
	PayloadBytes int64 `json:"payload_bytes"`
	// InitramfsBytes is the initramfs' size in RAM, before compression.
	InitramfsBytes int64 `json:"initramfs_bytes"`
	// Stations are the directories of single stations.
	Stations []string `json:"stations,omitempty"`
	// Files are all files but the manifest itself, sorted by path.
	Files []ManifestFile `json:"files"`
}

// ManifestFile is one file of a tree.
type ManifestFile struct {
	Path   string `json:"path"` // relative to the root, with slashes
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // in hex
}

// ReadManifest reads the manifest of the tree in dir.
func ReadManifest(dir string) (*Manifest, error) {
	name := filepath.Join(dir, manifestName)
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is not a netboot tree (make one with `make netboot`): %w", dir, err)
	}
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// Verify compares each file of the tree in dir with the manifest and returns the
// first difference.
func (m *Manifest) Verify(dir string) error {
	for _, want := range m.Files {
		got, err := hashFile(dir, want.Path)
		if err != nil {
			return fmt.Errorf("checking the netboot tree: %w", err)
		}
		if got != want {
			return fmt.Errorf("checking the netboot tree: %s has %d bytes with sha256 %s, want %d with %s", want.Path, got.Bytes, got.SHA256, want.Bytes, want.SHA256)
		}
	}
	return nil
}

func (m *Manifest) write(dir string) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, manifestName), append(b, '\n'), 0o644)
}

func hashFile(dir, path string) (ManifestFile, error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(path)))
	if err != nil {
		return ManifestFile{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return ManifestFile{}, err
	}
	return ManifestFile{Path: path, Bytes: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}
