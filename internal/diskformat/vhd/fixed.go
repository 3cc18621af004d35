package vhd

import (
	"context"

	"github.com/transferd/transferd/internal/diskformat"
)

// fixed is the disk at the beginning of a file, as one block.
type fixed struct {
	footer
	*diskformat.Blocks
}

var (
	_ diskformat.Disk   = fixed{}
	_ diskformat.Warner = fixed{}
)

func openFixed(f diskformat.File, foot footer) (diskformat.Disk, error) {
	size, err := foot.diskSize(foot.off)
	if err != nil {
		return nil, err
	}
	return fixed{foot, &diskformat.Blocks{
		File: f, DiskSize: size, BlockSize: size,
		Find: func(context.Context, int64) (diskformat.Run, error) {
			return diskformat.Run{Blocks: 1, Stored: true}, nil
		},
	}}, nil
}
