package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// usedByTimeout bounds the query for the users of a drive.
const usedByTimeout = 10 * time.Second

// explainInUse wraps a mismatch on a drive that something else uses, and may write. It queries the
// endpoint once, since the job has failed in any case.
func (a *attempt) explainInUse(ctx context.Context, err error) error {
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, usedByTimeout)
	defer cancel()
	for _, drive := range []transfer.Ref{a.spec().Source, targetOf(a.spec(), a.state.Plan().Drive)} {
		if drive.Drive == "" {
			continue
		}
		users, usersErr := a.opener.UsedBy(ctx, a.session, drive)
		if usersErr != nil || len(users) == 0 {
			continue
		}
		used := &transfer.Error{
			Code: transfer.CodeMismatch,
			Hint: "stop the server that uses the drive, or clone the drive and use the clone",
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

// targetOf is the target of a spec; of a spec for a new drive, the drive that was made for it.
func targetOf(spec *transfer.Spec, made string) transfer.Ref {
	target := spec.Target
	if target.IsDrive() && target.Drive == "" {
		target.Drive = made
	}
	return target
}
