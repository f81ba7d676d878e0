package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/openseastack/netboot-imager/internal/ptable"
)

// Inventory describes the allowed devices, in the list's order. It opens none of them
// for writing, so it works during a write too.
func (s System) Inventory(allowed []string) []Info {
	out := make([]Info, len(allowed))
	for i, device := range allowed {
		out[i] = s.describe(device, allowed)
	}
	return out
}

func (s System) describe(device string, allowed []string) Info {
	info := Info{Device: device}
	n, err := s.look(device, allowed)
	var absent *NotPresentError
	if errors.As(err, &absent) {
		return info
	}
	if err != nil {
		info.Error = err.Error()
		return info
	}
	if n.file {
		st, err := os.Stat(device)
		if err != nil {
			info.Error = err.Error()
			return info
		}
		info.Size, info.LogicalBlockSize, info.Present = st.Size(), 512, st.Size() > 0
		info.Model = "file-backed disk"
	} else {
		sectors, _ := strconv.ParseInt(attr(n.dir, "size"), 10, 64)
		info.Size, info.Present = sectors*512, sectors > 0
		info.LogicalBlockSize, _ = strconv.Atoi(attr(n.dir, "queue/logical_block_size"))
		info.Removable = attr(n.dir, "removable") == "1"
		info.Model, info.Serial = n.identity()
		info.Partitions = n.partitions()
	}
	if !info.Present {
		return info
	}
	head, err := readHead(device, info.Size)
	if err != nil {
		info.Error = err.Error()
		return info
	}
	if info.Partitions == nil {
		info.Partitions = tablePartitions(device, head, int64(info.LogicalBlockSize))
	}
	by, err := s.inUse(n)
	if err == nil && by == "" {
		by, err = s.bootDisk(n, head, int64(info.LogicalBlockSize))
	}
	if err != nil {
		info.Error = err.Error()
	}
	info.InUse = by
	return info
}

// Info describes the opened disk.
func (t *Target) Info() Info {
	info := Info{Device: t.node.path, Present: true, Size: t.size, LogicalBlockSize: t.blockSize, Model: "file-backed disk"}
	if !t.node.file {
		info.Removable = attr(t.node.dir, "removable") == "1"
		info.Model, info.Serial = t.node.identity()
	}
	return info
}

// identity returns a disk's model and serial number: of an SD card or eMMC its name and
// serial (Documentation/driver-api/mmc/mmc-dev-attrs.rst), else what the driver shows.
func (n *node) identity() (model, serial string) {
	dev := filepath.Join(n.dir, "device")
	model = attr(dev, "model")
	if model == "" {
		model = attr(dev, "name")
	}
	if file := attr(n.dir, "loop/backing_file"); model == "" && file != "" {
		model = "loop device"
	}
	serial = attr(dev, "serial")
	if serial == "" {
		serial = attr(n.dir, "serial")
	}
	return model, serial
}

// readHead reads a disk's start through the page cache, for looking only.
func readHead(device string, size int64) ([]byte, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, min(ptable.HeadSize, size))
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, err
	}
	return head, nil
}

// tablePartitions are the partitions of the table in head; none if there is no table.
func tablePartitions(device string, head []byte, sector int64) []Partition {
	table, err := ptable.Parse(head, sector)
	if err != nil {
		return nil
	}
	base := filepath.Base(device)
	if last := base[len(base)-1]; last >= '0' && last <= '9' {
		base += "p"
	}
	var out []Partition
	for _, p := range table.Partitions {
		out = append(out, Partition{fmt.Sprintf("%s%d", base, p.Number), p.Start, p.Size})
	}
	return out
}
