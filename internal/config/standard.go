package config

import (
	"fmt"
	"strings"

	"github.com/tailscale/hujson"
)

// Standardize turns JSON as Parse accepts it, with comments and trailing commas, into
// JSON as everybody does.
func Standardize(text []byte) ([]byte, error) {
	std, err := hujson.Standardize(hashComments(text))
	if err != nil {
		return nil, fmt.Errorf("is not JSON: %s; check commas, quotes and braces there", strings.TrimPrefix(err.Error(), "hujson: "))
	}
	return std, nil
}
