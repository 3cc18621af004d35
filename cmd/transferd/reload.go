package main

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/status"
)

// reloadOnHangup has SIGHUP fetch credentials again, until the daemon stops.
func (d *daemon) reloadOnHangup(ctx context.Context) {
	asked := make(chan struct{}, 1)
	d.signals.OnReload(func() {
		select {
		case asked <- struct{}{}:
		default: // one more is due anyway
		}
	})
	ctx, stop := context.WithCancel(ctx)
	ended := panics.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-asked:
				d.reload(ctx)
			}
		}
	}, d.fail)
	d.onStop(func() error {
		stop()
		ended()
		return nil
	})
}

// reload fetches passwords and the token again; what cannot be fetched stays as it is. Certificates are read when their
// files have changed in any case.
func (d *daemon) reload(ctx context.Context) {
	err := d.opener.Reload(ctx)
	token, tokenErr := d.cfg.HTTP.Token(ctx)
	if tokenErr == nil {
		d.face.guard.Store(&status.Guard{Token: token, Hosts: d.cfg.HTTP.Hosts})
	}
	if err := errors.Join(err, tokenErr); err != nil {
		d.log.Warn("some credentials are not reloaded and stay as they were", zap.Error(err))
		return
	}
	d.log.Info("credentials and certificates reloaded")
}
