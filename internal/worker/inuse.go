package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// useTimeout bounds the question who uses a drive.
const useTimeout = 10 * time.Second

// inUse says of a difference that it is on a drive which something else uses, and so may write to.
// It asks once: the job has failed, whatever the answer.
func (a *attempt) inUse(ctx context.Context, err error) error {
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, useTimeout)
	defer cancel()
	target := a.spec().Target
	if target.IsDrive() && target.Drive == "" {
		target.Drive = a.state.Plan().Drive
	}
	for _, drive := range []transfer.Ref{a.spec().Source, target} {
		if drive.Drive == "" {
			continue
		}
		users, askErr := a.opener.UsedBy(ctx, a.session, drive)
		if askErr != nil || len(users) == 0 {
			continue
		}
		used := &transfer.Error{
			Code: transfer.CodeMismatch,
			Hint: "a running server changes its drive: stop it, or clone the drive and use the clone",
			Err:  fmt.Errorf("drive %s is in use by %s: %w", drive.Drive, strings.Join(users, ", "), err),
		}
		var cause *transfer.Error
		if errors.As(err, &cause) {
			used.Offset = cause.Offset
		}
		return used
	}
	return err
}
