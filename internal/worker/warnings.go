package worker

import (
	"context"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/volume"
)

// warnings is what users should know of an image that has been copied or compared, which m
// describes.
func (a *attempt) warnings(ctx context.Context, m *transfer.Manifest) (list []string) {
	if a.ends.warner != nil {
		list = a.ends.warner.Warnings(m)
	}
	if misplaced := a.misplacedGPT(ctx); misplaced != "" {
		list = append(list, misplaced)
	}
	if a.unseen != "" {
		list = append(list, a.unseen)
	}
	return list
}

// misplacedGPT looks for a partition table on the target whose backup is not where the target ends,
// as where a drive is larger than its image; empty: there is none. It is read from the target,
// since a resumed job has not seen all of the image.
func (a *attempt) misplacedGPT(ctx context.Context) string {
	capacity := a.ends.traits.Capacity
	if !a.action.Writes && !a.action.EndpointCopies || capacity == 0 ||
		a.ends.readBack == nil || a.ends.traits.ReadBack != transfer.ReadBackAtOnce {
		return ""
	}
	head, err := a.stored(ctx, 0, min(volume.HeadSize, capacity))
	if err != nil {
		a.log.Warn("read of the target's partition table failed", zap.Error(err))
		return ""
	}
	table, _ := volume.ParseTable(head)
	return table.BackupWarning(capacity)
}
