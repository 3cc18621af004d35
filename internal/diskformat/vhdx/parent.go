package vhdx

import (
	"context"
	"encoding/binary"
	"strconv"
	"unicode/utf16"

	"github.com/transferd/transferd/internal/diskformat"
)

const (
	locatorHeaderLen = 20
	locatorEntryLen  = 12
)

// refuseDifferencing is the error for an image with a parent, which it names if it can be read.
func refuseDifferencing(ctx context.Context, table *diskformat.Table, items map[string]region) error {
	parent := ""
	if name, err := parentName(ctx, table, items[parentItem]); err == nil && name != "" {
		parent = " " + strconv.Quote(name)
	}
	return diskformat.Refused(hintMerge,
		"it is a differencing VHDX image: the other part of the disk is in its parent%s", parent)
}

// parentName returns the path of the parent relative to the image or, without that, the absolute
// one; empty if there is neither.
func parentName(ctx context.Context, table *diskformat.Table, locator region) (string, error) {
	read := func(off, n int64) ([]byte, error) {
		at, err := locator.part(off, n)
		if err != nil || n == 0 {
			return nil, err
		}
		return table.Read(ctx, at.off, int(n))
	}
	header, err := read(0, locatorHeaderLen)
	if err != nil {
		return "", err
	}
	n := int64(binary.LittleEndian.Uint16(header[18:]))
	entries, err := read(locatorHeaderLen, n*locatorEntryLen)
	if err != nil {
		return "", err
	}
	absolute := ""
	for ; len(entries) > 0; entries = entries[locatorEntryLen:] {
		le := binary.LittleEndian
		key, err := read(int64(le.Uint32(entries)), int64(le.Uint16(entries[8:])))
		if err != nil {
			return "", err
		}
		value, err := read(int64(le.Uint32(entries[4:])), int64(le.Uint16(entries[10:])))
		if err != nil {
			return "", err
		}
		switch text(key) {
		case "relative_path":
			return text(value), nil
		case "absolute_win32_path":
			absolute = text(value)
		}
	}
	return absolute, nil
}

// text is a text in UTF-16.
func text(p []byte) string {
	units := make([]uint16, len(p)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(p[2*i:])
	}
	return string(utf16.Decode(units))
}
