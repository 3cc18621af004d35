package endpoints

import (
	"cmp"
	"context"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// place is one kind of place: the form of its addresses, and how its sources and sinks are opened.
type place struct {
	transfer.Scheme
	source func(o *Opener, ctx context.Context, s *worker.Session) (transfer.Source, error)
	sink   func(o *Opener, ctx context.Context, s *worker.Session, r worker.SinkRequest) (transfer.Sink, error)
	// maker makes a target before it is opened; nil: no target is made in advance.
	maker *maker
}

// maker makes targets, each with a new ID, as worker.Opener describes it.
type maker struct {
	provision func(o *Opener, ctx context.Context, s *worker.Session, size int64, find bool) (worker.NewDrive, error)
	ready     func(o *Opener, ctx context.Context, s *worker.Session, id string) (bool, error)
}

// places are all kinds of place that jobs can name; a new kind is one more row. Addresses are tried
// in this order.
var places = []place{
	{Scheme: transfer.Stdio, source: (*Opener).imageSource, sink: (*Opener).imageSink},
	{Scheme: transfer.URLs, source: (*Opener).imageSource},
	{api.Drives, (*Opener).driveSource, (*Opener).driveSink, &maker{(*Opener).makeDrive, (*Opener).driveReady}},
	{Scheme: transfer.Files, source: (*Opener).imageSource, sink: (*Opener).imageSink},
}

// Schemes are the forms of address that users can type.
var Schemes = func() (l transfer.Schemes) {
	for i := range places {
		l = append(l, places[i].Scheme)
	}
	return l
}()

func placeOf(r transfer.Ref) (*place, error) {
	for i := range places {
		if places[i].Owns(r) {
			return &places[i], nil
		}
	}
	return nil, transfer.Errorf(transfer.CodeInvalid, "use ENDPOINT:UUID, a path or a URL",
		"jobs cannot reach %s", r.Redacted())
}

// Source implements worker.Opener.
func (o *Opener) Source(ctx context.Context, s *worker.Session) (transfer.Source, error) {
	p, err := placeOf(s.Spec.Source)
	if err != nil {
		return nil, err
	}
	return p.source(o, ctx, s)
}

// Sink implements worker.Opener.
func (o *Opener) Sink(ctx context.Context, s *worker.Session, r worker.SinkRequest) (transfer.Sink, error) {
	p, err := placeOf(s.Spec.Target)
	if err != nil {
		return nil, err
	}
	if p.sink == nil {
		return nil, readOnly(s.Spec.Target)
	}
	return p.sink(o, ctx, s, r)
}

func readOnly(r transfer.Ref) error {
	return transfer.Errorf(transfer.CodeInvalid, "write to a file or a drive",
		"nothing can be written to %s", r.Redacted())
}

// Provision implements worker.Opener.
func (o *Opener) Provision(ctx context.Context, s *worker.Session, size int64, find bool) (worker.NewDrive, error) {
	m, err := makerOf(s.Spec.Target)
	if err != nil {
		return worker.NewDrive{}, err
	}
	return m.provision(o, ctx, s, size, find)
}

// Ready implements worker.Opener.
func (o *Opener) Ready(ctx context.Context, s *worker.Session, id string) (bool, error) {
	m, err := makerOf(s.Spec.Target)
	if err != nil {
		return false, err
	}
	return m.ready(o, ctx, s, id)
}

func makerOf(r transfer.Ref) (*maker, error) {
	p, err := placeOf(r)
	if err != nil {
		return nil, err
	}
	if p.maker == nil {
		return nil, readOnly(r)
	}
	return p.maker, nil
}

func (o *Opener) driveSource(ctx context.Context, s *worker.Session) (transfer.Source, error) {
	return o.drive(ctx, s, s.Spec.Source.Endpoint, cmp.Or(s.Snapshot, s.Spec.Source.Drive))
}

// imageSource opens an image or, for a job that only compares, an image or a manifest.
func (o *Opener) imageSource(ctx context.Context, s *worker.Session) (transfer.Source, error) {
	path, target := s.Spec.Source.Path, s.Spec.Target
	opts := image.Options{
		Roots: o.opts.Roots, Stdin: o.opts.In, Limit: s.Limit, Format: s.Spec.Format,
		StoredDigest: s.Spec.ExpectsDigest(), Credentials: o.opts.URLCredentials, Retry: s.Retry, InOrder: s.InOrder,
		AllowMounted: s.Spec.AllowMounted, Follow: s.Spec.Follow, Spool: s.Spec.Spool, DefaultSpool: o.opts.Spool,
	}
	if !s.Spec.AllowShort {
		opts.MinSize = s.Spec.Size
	}
	if !s.Spec.Action().Writes {
		opts.Measure = true
		return image.OpenImageOrManifest(ctx, path, opts)
	}
	// Without --size, a compressed image is unpacked once to find its size, up to the size of the
	// drive. With --size, a damaged image is found only during the copy.
	if opts.Measure = s.Spec.Size == 0; opts.Measure && target.Drive != "" {
		d, err := o.drive(ctx, s, target.Endpoint, target.Drive)
		if err == nil {
			err = busy(d)
		}
		if err != nil {
			return nil, err
		}
		opts.MaxSize = d.Size()
	}
	return image.Open(ctx, path, opts)
}

func (o *Opener) imageSink(ctx context.Context, s *worker.Session, r worker.SinkRequest) (transfer.Sink, error) {
	return image.Create(ctx, s.Spec.Target.Path, image.CreateOptions{
		Format: s.Spec.Format, Size: r.Size, Overwrite: s.Spec.Overwrite, Resume: r.Resume,
		Roots: o.opts.Roots, Stdout: o.opts.Out, Job: s.ID, FromDisk: s.Spec.Verify == transfer.VerifyFull,
		Lease: s.Lease,
	})
}

// PublishedSum implements worker.Opener.
func (o *Opener) PublishedSum(ctx context.Context, s *worker.Session) (transfer.PublishedSum, error) {
	return image.FetchSum(ctx, s.Spec.SHA256URL, s.Spec.Source, image.Options{
		Limit: s.Limit, Credentials: o.opts.URLCredentials,
	})
}
