package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pi4 is what a Raspberry Pi 4 shows, below a root that holds proc and sys.
var pi4 = map[string]string{
	"proc/sys/kernel/hostname":                     "pi-17\n",
	"proc/device-tree/model":                       "Raspberry Pi 4 Model B Rev 1.4\x00",
	"proc/device-tree/serial-number":               "10000000abcdef01\x00",
	"proc/device-tree/chosen/bootloader/boot-mode": "\x00\x00\x00\x02",
	"proc/uptime":                                  "93.42 301.10\n",
	"proc/meminfo":                                 "MemTotal:         3884344 kB\nMemFree:          100 kB\nMemAvailable:    3500000 kB\n",
	"sys/class/thermal/thermal_zone0/type":         "gpu-thermal\n",
	"sys/class/thermal/thermal_zone0/temp":         "99000\n",
	"sys/class/thermal/thermal_zone1/type":         "cpu-thermal\n",
	"sys/class/thermal/thermal_zone1/temp":         "48312\n",
	"sys/class/net/bond0/address":                  "02:00:00:00:00:01\n",
	"sys/class/net/eth0/address":                   "dc:a6:32:01:02:03\n",
	"sys/class/net/eth0/device/uevent":             "\n",
	"sys/class/net/eth0/operstate":                 "up\n",
	"sys/class/net/lo/address":                     "00:00:00:00:00:00\n",
	"sys/class/net/wlan0/address":                  "dc:a6:32:01:02:04\n",
	"sys/class/net/wlan0/device/uevent":            "\n",
	"sys/class/net/wlan0/operstate":                "down\n",
}

// plant writes files below a new root.
func plant(t *testing.T, files map[string]string) System {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return System{Proc: filepath.Join(root, "proc"), Sys: filepath.Join(root, "sys")}
}

func TestFacts(t *testing.T) {
	celsius := 48.312
	want := Facts{
		Hostname: "pi-17", Model: "Raspberry Pi 4 Model B Rev 1.4", Serial: "10000000abcdef01", MAC: "dc:a6:32:01:02:03",
		UptimeSeconds: 93, MemoryTotal: 3884344 << 10, MemoryAvailable: 3500000 << 10, TemperatureCelsius: &celsius, BootedFrom: "network",
	}
	if diff := cmp.Diff(want, plant(t, pi4).Facts()); diff != "" {
		t.Error(diff)
	}
}

// TestAbsent has a machine that shows nothing at all.
func TestAbsent(t *testing.T) {
	if diff := cmp.Diff(Facts{}, plant(t, nil).Facts()); diff != "" {
		t.Error(diff)
	}
}

func TestSensors(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  float64
		ok    bool
	}{
		{"one without the CPU's name", map[string]string{"sys/class/thermal/thermal_zone0/type": "soc\n", "sys/class/thermal/thermal_zone0/temp": "-1500\n"}, -1.5, true},
		{"unreadable, then readable", map[string]string{"sys/class/thermal/thermal_zone0/temp": "\n", "sys/class/thermal/thermal_zone1/temp": "20000\n"}, 20, true},
		{"nonsense", map[string]string{"sys/class/thermal/thermal_zone0/temp": "hot\n"}, 0, false},
	}
	for _, tt := range tests {
		if got, ok := plant(t, tt.files).Temperature(); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %v, %v, want %v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestBootedFrom(t *testing.T) {
	for mode, want := range map[string]string{"\x00\x00\x00\x01": "sd", "\x00\x00\x00\x06": "nvme", "\x00\x00\x00\x63": "", "\x02": "", "": ""} {
		if got := plant(t, map[string]string{"proc/device-tree/chosen/bootloader/boot-mode": mode}).Facts().BootedFrom; got != want {
			t.Errorf("boot-mode %q: %q, want %q", mode, got, want)
		}
	}
}

// TestHost reads the machine that the test runs on, of which little is known.
func TestHost(t *testing.T) {
	f := Host.Facts()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if f.Hostname != name || f.MemoryTotal < 64<<20 || f.MemoryAvailable <= 0 || f.MemoryAvailable > f.MemoryTotal || f.UptimeSeconds <= 0 {
		t.Errorf("%+v", f)
	}
	if f.MAC != "" && strings.Count(f.MAC, ":") != 5 {
		t.Errorf("MAC = %q", f.MAC)
	}
}
