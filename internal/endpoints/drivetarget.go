package endpoints

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/codec"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// makeDrive makes a job's new drive, unless the preflight refuses it. With find, it first looks for
// the tag of a drive that an earlier call made.
func (o *Opener) makeDrive(
	ctx context.Context, s *worker.Session, size int64, find bool,
) (made worker.NewDrive, err error) {
	c, err := o.session(ctx, s, s.Spec.Target.Endpoint)
	if err != nil {
		return made, err
	}
	p, err := o.preflight(ctx, c, s, find)
	if err != nil {
		return made, transfer.NotCarriedOut(err)
	}
	copies := s.Spec.Action().EndpointCopies
	if copies {
		made.Servers = p.origin.Writers()
	}
	if made.UUID = p.made; made.UUID != "" {
		return made, nil
	}
	if p.originErr != nil {
		return made, transfer.NotCarriedOut(p.originErr)
	}
	if copies {
		if _, err := p.origin.Ready(); err != nil { // it never will be; the endpoint waits for one that is busy
			return made, err
		}
		size = p.origin.Size
	}
	if err := CheckSize(&s.Spec, size); err != nil {
		return made, err
	}
	size = cmp.Or(s.Spec.Size, size)
	allowed := p.account.allowance(time.Now())
	if err := allowed.check(s.Spec.Target.Endpoint, size); err != nil {
		return made, transfer.NotCarriedOut(err)
	}
	opts := newDriveOptions(s, size, &p.origin)
	var info api.DriveInfo
	if copies {
		opts.Size = s.Spec.Size // without one, the copy has the size of the source
		info, err = c.CloneDrive(ctx, p.origin.UUID, api.CloneOptions(opts))
		err = explainBusy(&p.origin, err)
	} else {
		info, err = c.CreateDrive(ctx, opts)
	}
	made.UUID = info.UUID
	return made, explainNoSpace(ctx, c, s.Spec.Target.Endpoint, size, err)
}

// explainBusy names what uses a drive, if the endpoint refuses to copy the drive because it is
// busy. Servers that run are the worker's to name.
func explainBusy(origin *api.DriveInfo, refusal error) error {
	if transfer.CodeOf(refusal) != transfer.CodeConflict || len(origin.Claimed) == 0 || len(origin.Servers()) > 0 {
		return refusal
	}
	used := inUse(origin.Claimed, refusal)
	var e *transfer.Error
	if errors.As(refusal, &e) {
		used.RetryAfter = e.RetryAfter
	}
	return used
}

// busy is the error of a drive that has users, so that it cannot be written; nil: it has none.
func busy(d *api.Drive) error {
	if len(d.Claimed()) == 0 {
		return nil
	}
	e := inUse(d.Claimed(), nil)
	e.Op = "open drive " + d.UUID()
	return e
}

// inUse is the error of a drive that has users. cause may be nil.
func inUse(users []string, cause error) *transfer.Error {
	err := fmt.Errorf("it is in use by %s", strings.Join(users, ", "))
	if cause != nil {
		err = fmt.Errorf("%w; %w", cause, err)
	}
	return &transfer.Error{
		Code: transfer.CodeConflict, Hint: "when it is free, the job goes on", Err: err,
	}
}

// newDriveOptions describes a new drive of size bytes. The copy of a drive, origin, also has its
// name, unless the job has one, and its tags.
func newDriveOptions(s *worker.Session, size int64, origin *api.DriveInfo) api.CreateOptions {
	opts := api.CreateOptions{Name: s.Spec.Name, Size: size, Tags: s.Spec.Tags, Readers: s.Spec.Readers}
	if s.Spec.Source.IsDrive() {
		opts.Name, opts.Tags = cmp.Or(s.Spec.Name, origin.Name), copiedTags(*origin)
		for _, tag := range s.Spec.Tags {
			if !slices.Contains(opts.Tags, tag) {
				opts.Tags = append(opts.Tags, tag)
			}
		}
	}
	opts.Tags = append(slices.Clone(opts.Tags), madeTags(s)...)
	return opts
}

// CheckSize checks whether the spec's new drive can be made for an image of size bytes; -1 if the
// size is unknown. Its errors have CodeInvalid.
func CheckSize(s *transfer.Spec, size int64) error {
	switch {
	case s.Size != 0 && size > s.Size:
		return tooLarge(size, s.Size, "give a larger --size, or leave it out")
	case s.Size != 0:
		return nil
	case size < 0:
		return transfer.Errorf(transfer.CodeInvalid,
			"give the new drive's --size; the rest of the drive is zeros",
			"the image's size is not known before its end")
	case !s.Source.IsDrive() && size%api.SectorSize != 0:
		return transfer.Errorf(transfer.CodeInvalid,
			fmt.Sprintf("is it truncated? if not, give --size %d; the rest of the drive is zeros",
				(size/api.SectorSize+1)*api.SectorSize),
			"the image has %s, which is no multiple of %d-byte sectors", transfer.Count(size, "byte"), api.SectorSize)
	}
	return nil
}

func tooLarge(image, drive int64, hint string) error {
	return transfer.Errorf(transfer.CodeInvalid, hint,
		"the image has %s, and the drive only %d", transfer.Count(image, "byte"), drive)
}

// madeTags are the tags of a drive that a job makes: they name the job, and say that the drive is
// incomplete.
func madeTags(s *worker.Session) []string {
	return []string{transfer.JobTag(s.ID), transfer.IncompleteTag}
}

// HeldBy implements worker.Opener.
func (o *Opener) HeldBy(ctx context.Context, s *worker.Session, drive transfer.Ref) ([]string, error) {
	info, err := o.driveInfo(ctx, s, drive)
	return info.Servers(), err
}

// Writers implements worker.Opener.
func (o *Opener) Writers(ctx context.Context, s *worker.Session, drive transfer.Ref) ([]string, error) {
	info, err := o.driveInfo(ctx, s, drive)
	return info.Writers(), err
}

func (o *Opener) driveInfo(
	ctx context.Context, s *worker.Session, drive transfer.Ref,
) (info api.DriveInfo, err error) {
	c, err := o.session(ctx, s, drive.Endpoint)
	if err != nil {
		return info, err
	}
	return c.Drive(ctx, drive.Drive)
}

// openTag is the tag of the job's target drive until the drive is complete.
func openTag(s *worker.Session) string {
	if s.Spec.Target.Drive != "" {
		return transfer.OverwritingTag(s.ID)
	}
	return transfer.IncompleteTag
}

func targetTagsOf(s *worker.Session, tags []string) transfer.TargetTags {
	return transfer.TargetTags{
		Job: slices.Contains(tags, transfer.JobTag(s.ID)), Incomplete: slices.Contains(tags, openTag(s)),
	}
}

// TargetTags implements worker.Opener.
func (o *Opener) TargetTags(ctx context.Context, s *worker.Session, drive string) (transfer.TargetTags, error) {
	return o.retag(ctx, s, drive, slices.Clone[[]string])
}

// TagIncomplete implements worker.Opener.
func (o *Opener) TagIncomplete(ctx context.Context, s *worker.Session, drive string) (transfer.TargetTags, error) {
	return o.retag(ctx, s, drive, func(tags []string) []string {
		if slices.Contains(tags, openTag(s)) {
			return tags
		}
		return append(slices.Clone(tags), openTag(s))
	})
}

// TagComplete implements worker.Opener. It replaces the job tag on a drive that the job has
// overwritten.
func (o *Opener) TagComplete(ctx context.Context, s *worker.Session, drive string) error {
	_, err := o.retag(ctx, s, drive, func(tags []string) []string {
		overwritten := slices.Contains(tags, transfer.OverwritingTag(s.ID))
		tags = slices.DeleteFunc(slices.Clone(tags), func(tag string) bool {
			return tag == transfer.IncompleteTag || tag == openTag(s) || overwritten && transfer.IsJobTag(tag)
		})
		if overwritten {
			tags = append(tags, transfer.JobTag(s.ID))
		}
		return tags
	})
	return err
}

// retag changes the tags of the target drive, unless change returns the same tags. It returns the
// content of the tags after that.
func (o *Opener) retag(
	ctx context.Context, s *worker.Session, drive string, change func(tags []string) []string,
) (found transfer.TargetTags, err error) {
	c, err := o.session(ctx, s, s.Spec.Target.Endpoint)
	if err != nil {
		return found, err
	}
	info, err := c.Drive(ctx, drive)
	if err != nil {
		return found, err
	}
	if tags := change(info.Tags); !slices.Equal(tags, info.Tags) {
		if info, err = c.SetDrive(ctx, drive, api.Object{"tags": strings.Join(tags, " ")}); err != nil {
			return found, err
		}
	}
	return targetTagsOf(s, info.Tags), nil
}

// findDrive finds the drive that an earlier call made; empty if there is none.
func findDrive(ctx context.Context, c *api.Client, s *worker.Session) (string, error) {
	drives, err := c.Drives(ctx)
	if err != nil {
		return "", err
	}
	for i := range drives {
		if slices.Contains(drives[i].Tags, transfer.JobTag(s.ID)) {
			return drives[i].UUID, nil
		}
	}
	return "", nil
}

// sourceInfo describes the source drive.
func (o *Opener) sourceInfo(ctx context.Context, s *worker.Session) (api.DriveInfo, error) {
	c, err := o.session(ctx, s, s.Spec.Source.Endpoint)
	if err != nil {
		return api.DriveInfo{}, err
	}
	return c.Drive(ctx, s.Spec.Source.Drive)
}

// copiedTags are the tags that a clone gets from its source: all but those of jobs.
func copiedTags(origin api.DriveInfo) []string {
	return slices.DeleteFunc(slices.Clone(origin.Tags), transfer.IsOurTag)
}

// driveReady reports whether the endpoint has finished making the target drive.
func (o *Opener) driveReady(ctx context.Context, s *worker.Session, drive string) (bool, error) {
	return o.ready(ctx, s, s.Spec.Target.Endpoint, drive)
}

// ready reports whether an endpoint has finished making a drive.
func (o *Opener) ready(ctx context.Context, s *worker.Session, endpoint, drive string) (bool, error) {
	c, err := o.session(ctx, s, endpoint)
	if err != nil {
		return false, err
	}
	info, err := c.Drive(ctx, drive)
	if err != nil {
		return false, err
	}
	return info.Ready()
}

// driveSink opens the drive that the job writes or compares.
func (o *Opener) driveSink(ctx context.Context, s *worker.Session, r worker.SinkRequest) (transfer.Sink, error) {
	d, err := o.drive(ctx, s, s.Spec.Target.Endpoint, r.Drive)
	if err != nil {
		return nil, err
	}
	switch writes := s.Spec.Action().Writes && !r.Compare; {
	case writes && busy(d) != nil:
		return nil, busy(d)
	case r.Size <= d.Size() && !writes:
		return d, nil
	case r.Size <= d.Size():
		return d.ForWriting(codec.NewCodec(s.Spec.Compression), r.Made), nil
	case writes:
		return nil, tooLarge(r.Size, d.Size(), "give a larger drive, or leave the UUID out for a new one")
	}
	return nil, &transfer.Error{
		Op: "compare drive " + r.Drive, Code: transfer.CodeMismatch, Hint: "the drive cannot hold this image",
		Err: fmt.Errorf("it has %s, and the image %d", transfer.Count(d.Size(), "byte"), r.Size),
	}
}
