package netboot

import (
	"strings"
	"testing"
)

func TestCmdline(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string // or, with a leading !, what the error says
	}{
		{Options{}, "console=tty1 console=serial0,115200 root=/dev/loop0p2 panic=10 oops=panic\n"},
		{Options{SerialConsole: "off"}, "console=tty1 root=/dev/loop0p2 panic=10 oops=panic\n"},
		{Options{ConfigURL: "http://192.0.2.1:38434/c", KernelArgs: []string{"quiet"}},
			"console=tty1 console=serial0,115200 root=/dev/loop0p2 panic=10 oops=panic imager.config_url=http://192.0.2.1:38434/c quiet\n"},
		{Options{ConfigURL: "192.0.2.1/c"}, "!names no host"},
		{Options{ConfigURL: "ftp://192.0.2.1/c"}, "!neither http nor https"},
		{Options{ConfigURL: "http://192.0.2.1/a b"}, "!one word"},
		{Options{KernelArgs: []string{"a b"}}, "!one word"},
		{Options{KernelArgs: []string{""}}, "!one word"},
		{Options{KernelArgs: []string{"root=/dev/mmcblk0p2"}}, "!no root disk"},
		{Options{KernelArgs: []string{strings.Repeat("x", 700)}}, "!more than the 700"},
	} {
		got, err := cmdlineTxt(&tt.o)
		if says, fails := strings.CutPrefix(tt.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("cmdlineTxt(%+v) = %q, %v, want an error that says %q", tt.o, got, err, says)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("cmdlineTxt(%+v) = %q, %v, want %q", tt.o, got, err, tt.want)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{}, "cmdline=cmdline.txt\nenable_uart=1\n"},
		{Options{Layout: Flat}, "cmdline=netboot-imager.txt\n"},
		{Options{SerialConsole: "off"}, "enable_uart=0\n"},
		{Options{ConfigLines: []string{"dtparam=watchdog=off"}}, "[all]\ndtparam=watchdog=off\n"},
		{Options{BootRAMDisk: true}, "boot_ramdisk=1\n"},
		{Options{ConfigLines: []string{strings.Repeat("x", 79)}}, "!at most 78"},
		{Options{ConfigLines: []string{"a\nb"}}, "!one line"},
		{Options{ConfigLines: strings.Split(strings.Repeat(strings.Repeat("x", 70)+" ", 60), " ")}, "!4096"},
	} {
		got, err := configTxt(&tt.o)
		if says, fails := strings.CutPrefix(tt.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("configTxt(%+v): %v, want an error that says %q", tt.o, err, says)
			}
			continue
		}
		if err != nil || !strings.Contains(got, tt.want) {
			t.Errorf("configTxt(%+v) = %q, %v, want %q in it", tt.o, got, err, tt.want)
		}
	}
}

func TestStationDir(t *testing.T) {
	for _, tt := range []struct{ serial, want string }{
		{"1234abcd", "1234abcd"}, {"1234ABCD", "1234abcd"}, {"100000001234abcd", "1234abcd"},
		{"", ""}, {"1234abc", ""}, {"../../etc", ""}, {"g234abcd", ""},
	} {
		got, err := StationDir(tt.serial)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("StationDir(%q) = %q, %v, want %q", tt.serial, got, err, tt.want)
		}
	}
}

func TestCheckSize(t *testing.T) {
	warned := 0
	b := &builder{o: &Options{Logf: func(string, ...any) { warned++ }}}
	for _, tt := range []struct {
		bytes  int64
		warned int
		fails  bool
	}{{64_000_000, 0, false}, {64_000_001, 1, false}, {90_000_000, 2, false}, {90_000_001, 2, true}} {
		err := b.checkSize(ManifestFile{Path: "boot.img", Bytes: tt.bytes})
		if (err != nil) != tt.fails || warned != tt.warned {
			t.Errorf("%d bytes: %v, %d warnings, want failure %v and %d", tt.bytes, err, warned, tt.fails, tt.warned)
		}
	}
}

// TestNotReplaced checks that a directory of something else is left alone.
func TestNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := checkReplaceable(dir); err != nil {
		t.Errorf("empty: %v", err)
	}
	if err := (&Manifest{}).write(dir); err != nil {
		t.Fatal(err)
	}
	if err := checkReplaceable(dir); err != nil {
		t.Errorf("a tree: %v", err)
	}
	if err := checkReplaceable(".."); err == nil {
		t.Error("a directory with other files would be replaced")
	}
}
