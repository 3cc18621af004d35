package main

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/status"
)

// reloadOnHangup fetches credentials again at each SIGHUP until the daemon stops: the token of the
// status API, and those of fetch.
func (d *daemon) reloadOnHangup(ctx context.Context, fetch func(context.Context) error) {
	requests := make(chan struct{}, 1)
	d.signals.OnReload(func() {
		select {
		case requests <- struct{}{}:
		default: // a reload is due already
		}
	})
	ctx, stop := context.WithCancel(ctx)
	ended := panics.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-requests:
				d.reload(ctx, fetch)
			}
		}
	}, d.fail)
	d.onStop(func() error {
		stop()
		ended()
		return nil
	})
}

// reload fetches passwords and the token again; what cannot be fetched stays as it is. Certificates
// need no reload: each use reads them again if their files have changed.
func (d *daemon) reload(ctx context.Context, fetch func(context.Context) error) {
	err := fetch(ctx)
	token, tokenErr := d.cfg.HTTP.Token(ctx)
	if tokenErr == nil {
		d.statusAPI.guard.Store(&status.Guard{Token: token, Hosts: d.cfg.HTTP.Hosts})
	}
	if err := errors.Join(err, tokenErr); err != nil {
		d.log.Warn("some credentials not reloaded, the old ones stay", zap.Error(err))
		return
	}
	d.log.Info("credentials and certificates reloaded")
}

// relogin reads the config again and makes new connections to Redis log in with its credentials.
func (d *daemon) relogin(f *daemonFlags, c *queue.Client) error {
	if d.cfg.Redis == "" {
		return nil
	}
	cfg, err := config.Load(f.config)
	if err != nil || cfg.Redis == "" {
		return err
	}
	return c.Relogin(cfg.Redis)
}
