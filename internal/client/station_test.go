package client

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStations(t *testing.T) {
	tests := []struct {
		words string // separated by spaces
		want  []string
		err   string
	}{
		{"10.0.0.5", []string{"10.0.0.5:8888"}, ""},
		{"10.0.0.5,10.0.0.6:81 rack1,", []string{"10.0.0.5:8888", "10.0.0.6:81", "rack1:8888"}, ""},
		{"fd00::5 [fd00::6] [fd00::7]:81", []string{"[fd00::5]:8888", "[fd00::6]:8888", "[fd00::7]:81"}, ""},
		{"Rack1.Example:9", []string{"rack1.example:9"}, ""},
		{"", nil, ""},
		{"rack1,RACK1", nil, `station "RACK1" was named before, as "rack1"`},
		{"10.0.0.5,10.0.0.5:8888", nil, "was named before"},
		{"http://10.0.0.5/", nil, "is not an address"},
		{"rack1:0", nil, `has the port "0"`},
		{"rack1:http", nil, `has the port "http"`},
		{":81", nil, "has the port"},
		{"user@rack1", nil, "is not an address"},
		{"a:b:c", nil, "is not an address"},
	}
	for _, tt := range tests {
		got, err := ParseStations(strings.Fields(tt.words))
		var addrs []string
		for _, s := range got {
			addrs = append(addrs, s.Addr)
		}
		if tt.err == "" && (err != nil || !cmp.Equal(addrs, tt.want)) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: %v, %v; want %v, %q", tt.words, addrs, err, tt.want, tt.err)
		}
	}
}
