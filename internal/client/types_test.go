package client

import (
	"reflect"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/machine"
	"github.com/openseastack/netboot-imager/internal/station"
)

// keys adds the JSON keys of a struct type, those of embedded ones too, to known.
func keys(typ reflect.Type, known map[string]bool) map[string]bool {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	for f := range typ.Fields() {
		if f.Anonymous {
			keys(f.Type, known)
			continue
		}
		if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); key != "" && key != "-" {
			known[key] = true
		}
	}
	return known
}

// TestTypes checks that stations know every key that is read here. The types are written
// twice since the station's only build for Linux.
func TestTypes(t *testing.T) {
	receipt, _ := reflect.TypeFor[station.Status]().FieldByName("Receipt")
	for _, tt := range []struct{ here, there reflect.Type }{
		{reflect.TypeFor[Status](), reflect.TypeFor[station.Status]()},
		{reflect.TypeFor[Receipt](), receipt.Type},
		{reflect.TypeFor[Disk](), reflect.TypeFor[disk.Info]()},
		{reflect.TypeFor[Partition](), reflect.TypeFor[disk.Partition]()},
		{reflect.TypeFor[Facts](), reflect.TypeFor[struct {
			machine.Facts
			Version string `json:"version"`
		}]()},
	} {
		known := keys(tt.there, map[string]bool{})
		for key := range keys(tt.here, map[string]bool{}) {
			if !known[key] {
				t.Errorf("%v reads %q, which %v does not have", tt.here, key, tt.there)
			}
		}
	}
}
