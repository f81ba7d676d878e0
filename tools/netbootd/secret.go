package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/google/renameio/v2"
)

// secret reads a file that holds one secret, and makes it, with a random one, if it is
// not there.
func secret(path string, logf func(string, ...any)) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		random := make([]byte, 16)
		rand.Read(random)
		s := hex.EncodeToString(random)
		if err := renameio.WriteFile(path, []byte(s+"\n"), 0o600, renameio.WithStaticPermissions(0o600)); err != nil {
			return "", fmt.Errorf("making a secret: %w", err)
		}
		logf("made a new secret in %s", path)
		return s, nil
	}
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("%s is empty; put a secret in it, or remove it for a random one", path)
	}
	return s, nil
}
