package worker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	clonePollMin = 100 * time.Millisecond
	clonePollMax = 15 * time.Second
)

// cloneInPlace has the endpoint copy the drive, waits until it is done, and compares the two.
func (r *run) cloneInPlace(ctx context.Context) error {
	if r.task.Plan.Drive == "" {
		if err := r.asking(ctx); err != nil {
			return err
		}
		err := r.retry.call(ctx, r.sourceGate, func() error {
			err := r.worker.cfg.Opener.CloneDrive(ctx, &r.task)
			r.task.Again = true
			return err
		})
		if err := errors.Join(err, r.noteDrive(ctx, "")); err != nil {
			return err
		}
		r.retry.met = true
	}
	err := r.whileSaving(ctx, func() error { return r.cloneReady(ctx) })
	if r.gone(err) {
		err = errors.Join(err, r.forget(ctx)) // jobs retry makes another
	}
	if err != nil {
		return err
	}
	if r.task.Spec.Verify == transfer.VerifyNone {
		return nil
	}
	return r.transfer(ctx, compareOnly)
}

// cloneReady waits for the endpoint to finish. There is no limit: a large drive may take hours, and the endpoint says
// itself when a copy has failed.
func (r *run) cloneReady(ctx context.Context) error {
	for wait := clonePollMin; ; wait = min(wait*2, clonePollMax) {
		var ready bool
		err := r.retry.call(ctx, r.sinkGate, func() (err error) {
			ready, err = r.worker.cfg.Opener.DriveReady(ctx, &r.task)
			return r.young(err)
		})
		if err != nil || ready {
			return err
		}
		r.log.Debug("drive is imaging", zap.String("drive", r.task.Plan.Drive))
		if err := rest(ctx, r.drain, wait); err != nil {
			return err
		}
	}
}
