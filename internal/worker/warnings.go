package worker

import (
	"context"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/volume"
)

// warnings returns what users should know about the copied or compared image, which m describes.
func (a *attempt) warnings(ctx context.Context, m *transfer.Manifest) (list []string) {
	if a.ends.warner != nil {
		list = a.ends.warner.Warnings(m)
	}
	if misplaced := a.misplacedGPT(ctx); misplaced != "" {
		list = append(list, misplaced)
	}
	if a.undetected != "" {
		list = append(list, a.undetected)
	}
	progress := a.state.snapshot()
	for _, warning := range []string{inUseWarning(progress.InUse), changedWarning(progress.Changed)} {
		if warning != "" {
			list = append(list, warning)
		}
	}
	return append(list, a.leftServers()...)
}

// misplacedGPT returns a warning if the target has a GUID partition table whose backup is not at
// the end of the target, such as on a drive that is larger than the image; otherwise "". It reads
// the target, because a resumed job has not read the whole image.
func (a *attempt) misplacedGPT(ctx context.Context) string {
	capacity := a.ends.traits.Capacity
	if !a.action.Writes && !a.action.EndpointCopies || capacity == 0 ||
		a.ends.readBack == nil || a.ends.traits.ReadBack != transfer.ReadBackAtOnce {
		return ""
	}
	head, err := a.readTarget(ctx, 0, min(volume.HeadSize, capacity))
	if err != nil {
		a.log.Warn("target's partition table not readable", zap.Error(err))
		return ""
	}
	table, _ := volume.ParseTable(head)
	return table.BackupWarning(capacity)
}
