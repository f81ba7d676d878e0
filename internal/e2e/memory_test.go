package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// TestMemory writes an image that is larger than the station's RAM of 1 GiB, which also
// holds the whole system, and asks meanwhile how much of that is free.
func TestMemory(t *testing.T) {
	t.Parallel()
	need(t, "qemu-system-aarch64", "dnsmasq")
	const size, ram = 1152 << 20, 1024
	dir, _ := tree(t, netboot.Options{BootRAMDisk: true, Stations: []string{"5f0c1e11b5e4d15b"}, ConfigURL: configURL, SerialConsole: "serial0,115200"})
	s := newSite(t, dir, "virt-nvme", size+64<<20)
	raw := filepath.Join(t.TempDir(), "large.img")
	largeImage(t, raw, size)
	s.server.Images["large"] = compress(t, raw)
	s.MemoryMiB = ram

	start := time.Now()
	vm, _, err := s.Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.up(t, vm, start)
	ctx, stop := context.WithCancel(t.Context())
	least := make(chan memory)
	go func() { least <- s.leastMemory(ctx) }()
	s.write(t, "large")
	stop()
	m := <-least
	vm.Kill()
	compare(t, s.Disks[0], raw)
	t.Logf("of %d MiB at least %d were free, in %d looks", m.total>>20, m.available>>20, m.looks)
	switch {
	case m.looks < 3:
		t.Error("nobody could see how much memory was free")
	case m.total > ram<<20 || m.total >= size:
		t.Errorf("the station has %d MiB, which is too many for this test", m.total>>20)
	case m.available < 512<<20: // what the program itself needs is bounded by 192 MiB
		t.Errorf("only %d MiB of %d were free", m.available>>20, m.total>>20)
	}
}

// memory is what GET /station said, in bytes.
type memory struct {
	total, available int64 // the least that was available
	looks            int
}

// leastMemory asks again and again until ctx ends.
func (s *site) leastMemory(ctx context.Context) memory {
	var m memory
	for tick := time.NewTicker(500 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return m
		case <-tick.C:
		}
		code, body, err := s.Station(8888).Get(ctx, "/station", 5*time.Second)
		var facts struct {
			Total     int64 `json:"memory_total"`
			Available int64 `json:"memory_available"`
		}
		if err != nil || code != 200 || json.Unmarshal(body, &facts) != nil || facts.Available == 0 {
			continue // m.looks tells
		}
		if m.looks == 0 || facts.Available < m.available {
			m.available = facts.Available
		}
		m.total = facts.Total
		m.looks++
	}
}

// largeImage writes an image that compresses very well and has no zeros to skip: a
// partition of numbered lines.
func largeImage(t *testing.T, path string, size int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	head := make([]byte, 1<<20)
	head[446+4] = 0x83
	binary.LittleEndian.PutUint32(head[446+8:], 2048)
	binary.LittleEndian.PutUint32(head[446+12:], uint32(size/512-2048))
	copy(head[510:], "\x55\xaa")
	w.Write(head)
	line := make([]byte, 4096)
	for at := len(head); at < size; at += len(line) {
		copy(line, fmt.Sprintf("byte %d of an image that is larger than the RAM\n", at))
		w.Write(line)
	}
	if err := w.Flush(); err != nil { // of all writes
		t.Fatal(err)
	}
}
