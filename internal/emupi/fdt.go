package emupi

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Constants of the flattened device tree (Devicetree Specification, chapter 5).
const (
	fdtMagic     = 0xd00dfeed
	fdtBeginNode = 1
	fdtProp      = 3
)

// fdtHeader is the blob's header; all fields are big-endian.
type fdtHeader struct {
	Magic, TotalSize, OffStruct, OffStrings, OffReserve, Version, LastCompatible, BootCPU, SizeStrings, SizeStruct uint32
}

// setSerial puts a serial number into a device tree, as boot loaders do: the property
// serial-number of the root node. Linux shows it in /proc/device-tree.
func setSerial(dtb []byte, serial string) ([]byte, error) {
	var h fdtHeader
	if err := binary.Read(bytes.NewReader(dtb), binary.BigEndian, &h); err != nil || h.Magic != fdtMagic || h.Version < 17 {
		return nil, errors.New("this is no flattened device tree of version 17")
	}
	end := func(off, size uint32) bool { return uint64(off)+uint64(size) > uint64(len(dtb)) }
	if end(h.OffStruct, h.SizeStruct) || end(h.OffStrings, h.SizeStrings) || h.SizeStruct < 8 || h.OffReserve < 40 || h.OffReserve > h.OffStruct {
		return nil, errors.New("the device tree is damaged")
	}
	structs := dtb[h.OffStruct : h.OffStruct+h.SizeStruct]
	// The root node's name is empty: its begin and four zeros.
	if binary.BigEndian.Uint32(structs) != fdtBeginNode || binary.BigEndian.Uint32(structs[4:]) != 0 {
		return nil, errors.New("the device tree does not begin with its root node")
	}
	strs := append(bytes.Clone(dtb[h.OffStrings:h.OffStrings+h.SizeStrings]), "serial-number\x00"...)
	value := append([]byte(serial), 0)
	prop := binary.BigEndian.AppendUint32(nil, fdtProp)
	prop = binary.BigEndian.AppendUint32(prop, uint32(len(value)))
	prop = binary.BigEndian.AppendUint32(prop, h.SizeStrings) // where the name is
	prop = append(prop, value...)
	for len(prop)%4 != 0 {
		prop = append(prop, 0)
	}
	reserve := dtb[h.OffReserve:h.OffStruct] // memory reservations, as they are
	structs = append(append(bytes.Clone(structs[:8]), prop...), structs[8:]...)
	h.OffReserve = 40
	h.OffStruct = h.OffReserve + uint32(len(reserve))
	h.SizeStruct = uint32(len(structs))
	h.OffStrings = h.OffStruct + h.SizeStruct
	h.SizeStrings = uint32(len(strs))
	h.TotalSize = h.OffStrings + h.SizeStrings
	var out bytes.Buffer
	if err := binary.Write(&out, binary.BigEndian, h); err != nil {
		return nil, err
	}
	out.Write(reserve)
	out.Write(structs)
	out.Write(strs)
	return out.Bytes(), nil
}
