package vmdk

import (
	"slices"
	"strconv"
	"strings"

	"github.com/transferd/transferd/internal/diskformat"
)

const (
	extentFlat   = "FLAT"
	extentSparse = "SPARSE"
	extentZero   = "ZERO"

	maxExtents = 16 // of a disk; each keeps a table and a file open
	noParent   = 0xffffffff
)

// embeddedKinds are the types of disks that are one sparse extent; descriptorKinds are those of a
// disk whose descriptor is a file.
var (
	embeddedKinds   = []string{"monolithicSparse", "streamOptimized"}
	descriptorKinds = []string{"monolithicFlat", "monolithicSparse", "streamOptimized", "custom"}
)

// descriptor is what a descriptor says about a disk.
type descriptor struct {
	kind       string // createType
	parentCID  string // the content ID of the parent
	parentName string
	extents    []extent
}

// extent is a line that describes an extent.
type extent struct {
	access  string
	sectors int64
	kind    string
	name    string // of its file, as the image says
	off     int64  // of its first sector in that file, in sectors
}

// parseDescriptor reads a text, which ends at the first NUL. It ignores what it does not know, such
// as the disk's geometry.
func parseDescriptor(text []byte) (descriptor, error) {
	var d descriptor
	content, _, _ := strings.Cut(string(text), "\x00")
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		if isExtent(line) {
			e, ok := parseExtent(line)
			if !ok {
				return d, diskformat.Damaged("the descriptor of the VMDK image has the line %.200q", line)
			}
			d.extents = append(d.extents, e)
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "createtype":
			d.kind = value
		case "parentcid":
			d.parentCID = value
		case "parentfilenamehint":
			d.parentName = value
		}
	}
	return d, nil
}

func isExtent(line string) bool {
	words := strings.Fields(line)
	return len(words) > 0 && slices.Contains([]string{"RW", "RDONLY", "NOACCESS"}, words[0])
}

// parseExtent reads a line such as: RW 4096 FLAT "disk-flat.vmdk" 0.
func parseExtent(line string) (extent, bool) {
	front, rest, quoted := strings.Cut(line, `"`)
	words := strings.Fields(front)
	if len(words) != 3 {
		return extent{}, false
	}
	e := extent{access: words[0], kind: words[2]}
	var err error
	if e.sectors, err = strconv.ParseInt(words[1], 10, 64); err != nil || e.sectors < 0 || e.sectors > maxSectors {
		return extent{}, false
	}
	name, tail, closed := strings.Cut(rest, `"`)
	if !quoted {
		return e, e.kind == extentZero
	}
	if e.name = name; !closed || name == "" {
		return extent{}, false
	}
	if words = strings.Fields(tail); len(words) > 0 {
		e.off, err = strconv.ParseInt(words[0], 10, 64)
	}
	return e, err == nil && e.off >= 0 && e.off <= maxSectors
}

// check refuses disks of other kinds, disks that depend on a parent, and extents that are not read.
func (d *descriptor) check(kinds []string) error {
	if d.kind == "" {
		return diskformat.Damaged("the descriptor of the VMDK image has no createType")
	}
	if cid, err := strconv.ParseUint(d.parentCID, 16, 32); d.parentName != "" ||
		d.parentCID != "" && (err != nil || cid != noParent) {
		return diskformat.Refused(hintParent,
			"the VMDK image has only the differences to its parent %.200q", d.parentName)
	}
	if !slices.ContainsFunc(kinds, func(kind string) bool { return strings.EqualFold(d.kind, kind) }) {
		return diskformat.Refused(hintConvert, "VMDK images of the type %.200q are not read", d.kind)
	}
	if len(d.extents) > maxExtents {
		return diskformat.Refused(hintConvert, "the VMDK image has more than %d extents", maxExtents)
	}
	for _, e := range d.extents {
		if e.access == "NOACCESS" || e.kind != extentFlat && e.kind != extentSparse && e.kind != extentZero {
			return diskformat.Refused(hintConvert, "VMDK extents %s %.200q are not read", e.access, e.kind)
		}
	}
	return nil
}
