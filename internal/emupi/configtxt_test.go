package emupi

import (
	"slices"
	"testing"
)

func TestParseConfig(t *testing.T) {
	const text = "kernel=a\r\n" +
		"[pi3]\nkernel=b # not c\narm_64bit=1\n[pi4]\nkernel=d\n[cm4]\nkernel=e\n[pi5]\nkernel=f\ndtoverlay=x,y=z\n[cm5]\nkernel=g\n" +
		"[none]\nkernel=h\n[all]\ninitramfs i,j followkernel\n[tryboot]\nkernel=k\n[all]\n[0xb4e4d04a]\nkernel=l\n[all]\nos_check=0\n"
	for _, tt := range []struct {
		model, kernel string
		arm64         bool
		overlays      []string
	}{
		{"3b", "b", true, nil}, {"4b", "l", true, nil}, {"400", "d", true, nil}, {"cm4", "e", true, nil},
		{"5", "f", true, []string{"x"}}, {"cm5", "g", true, []string{"x"}},
	} {
		m, err := ByName(tt.model)
		if err != nil {
			t.Fatal(err)
		}
		c := parseConfig(text, m)
		if c.kernel != tt.kernel || c.arm64 != tt.arm64 || !slices.Equal(c.overlays, tt.overlays) ||
			!slices.Equal(c.initramfs, []string{"i", "j"}) || c.osCheck {
			t.Errorf("Pi %s: %+v, want kernel %s, 64 bits %v, overlays %q", tt.model, c, tt.kernel, tt.arm64, tt.overlays)
		}
	}
}

func TestSetSerial(t *testing.T) {
	m, err := ByName("4b")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetSerial("1234ABCD"); err != nil || m.Prefix() != "1234abcd/" {
		t.Errorf("prefix %s, %v, want 1234abcd/", m.Prefix(), err)
	}
	if err := m.SetSerial("nonsense"); err == nil {
		t.Error("a serial number that is none was taken")
	}
}
