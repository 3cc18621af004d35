package endpoints

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// targetDrive opens the drive that the job writes, and makes it first if the job is to.
func (o *Opener) targetDrive(ctx context.Context, t *worker.Task, size int64) (transfer.Sink, error) {
	c, err := o.session(ctx, t, t.Spec.Target.Endpoint)
	if err != nil {
		return nil, err
	}
	if t.Plan.Drive == "" && t.Spec.Target.Drive != "" {
		t.Plan.Drive = t.Spec.Target.Drive
	}
	if t.Plan.Drive == "" {
		if err := o.makeDrive(ctx, c, t, size); err != nil {
			return nil, err
		}
	}
	d, err := api.OpenDrive(ctx, c, t.Plan.Drive)
	if err != nil {
		return nil, err
	}
	if size > d.Size() {
		return nil, tooLarge(size, d.Size(), "give a larger drive, or leave the UUID out for a new one")
	}
	t.Capacity = d.Size()
	return d.ForWriting(chunker.NewCodec(t.Spec.Compression), !t.Plan.Created.IsZero()), nil
}

// makeDrive creates the target drive, unless an earlier try did so and was cut off before it could say so.
func (o *Opener) makeDrive(ctx context.Context, c *api.Client, t *worker.Task, size int64) error {
	if err := checkSize(&t.Spec, size); err != nil {
		return err
	}
	if found, err := findMade(ctx, c, t); found || err != nil {
		return err
	}
	opts := api.CreateOptions{Name: t.Spec.Name, Size: t.Spec.Size, Tags: append(slices.Clone(t.Spec.Tags), jobTag(t)), Readers: t.Spec.Readers}
	if opts.Size == 0 {
		opts.Size = size
	}
	if t.Spec.Source.IsDrive() {
		origin, err := o.origin(ctx, t)
		if err != nil {
			return err
		}
		opts.Name, opts.Tags = cloneName(t, origin), append(inherited(origin), jobTag(t))
	}
	info, err := c.Create(ctx, opts)
	if err != nil {
		return err
	}
	t.Plan.Drive, t.Plan.Created = info.UUID, time.Now()
	return nil
}

// checkSize says whether a drive can be made for an image of size bytes, -1 if that is unknown.
func checkSize(s *transfer.Spec, size int64) error {
	switch {
	case s.Size != 0 && size > s.Size:
		return tooLarge(size, s.Size, "give a larger --size, or leave it out")
	case s.Size != 0:
		return nil
	case size < 0:
		return transfer.Errorf(transfer.CodeInvalid, "give the new drive's --size; what the image does not fill is zeros", "the image's size is not known before its end")
	case !s.Source.IsDrive() && size%api.SectorSize != 0:
		return transfer.Errorf(transfer.CodeInvalid,
			fmt.Sprintf("is it truncated? if not, give --size %d; the rest of the drive is zeros", (size/api.SectorSize+1)*api.SectorSize),
			"the image has %d bytes, no whole number of %d-byte sectors", size, api.SectorSize)
	}
	return nil
}

func tooLarge(image, drive int64, hint string) error {
	return transfer.Errorf(transfer.CodeInvalid, hint, "the image has %d bytes, and the drive only %d", image, drive)
}

// jobTag marks the drives that a job makes.
func jobTag(t *worker.Task) string { return jobTagPrefix + t.ID }

const jobTagPrefix = "transferd:"

// findMade looks for a drive that an earlier try made.
func findMade(ctx context.Context, c *api.Client, t *worker.Task) (bool, error) {
	if !t.Again {
		return false, nil
	}
	drives, err := c.InfoAll(ctx)
	if err != nil {
		return false, err
	}
	for i := range drives {
		if slices.Contains(drives[i].Tags, jobTag(t)) {
			t.Plan.Drive, t.Plan.Created = drives[i].UUID, time.Now()
			return true, nil
		}
	}
	return false, nil
}

func (o *Opener) origin(ctx context.Context, t *worker.Task) (api.DriveInfo, error) {
	c, err := o.session(ctx, t, t.Spec.Source.Endpoint)
	if err != nil {
		return api.DriveInfo{}, err
	}
	return c.Info(ctx, t.Spec.Source.Drive)
}

func cloneName(t *worker.Task, origin api.DriveInfo) string {
	if t.Spec.Name != "" {
		return t.Spec.Name
	}
	return origin.Name
}

// inherited is the tags that a clone takes over: all but the marks of other jobs.
func inherited(origin api.DriveInfo) []string {
	return slices.DeleteFunc(slices.Clone(origin.Tags), func(tag string) bool { return strings.HasPrefix(tag, jobTagPrefix) })
}

// CloneDrive implements worker.Opener.
func (o *Opener) CloneDrive(ctx context.Context, t *worker.Task) error {
	c, err := o.session(ctx, t, t.Spec.Target.Endpoint)
	if err != nil {
		return err
	}
	origin, err := o.origin(ctx, t)
	if err != nil {
		return err
	}
	if t.Spec.Size != 0 && t.Spec.Size < origin.Size {
		return tooLarge(origin.Size, t.Spec.Size, "give a larger --size, or leave it out")
	}
	if found, err := findMade(ctx, c, t); found || err != nil {
		return err
	}
	info, err := c.Clone(ctx, origin.UUID, api.CloneOptions{Name: cloneName(t, origin), Size: t.Spec.Size, Tags: append(inherited(origin), jobTag(t))})
	if err != nil {
		return err
	}
	t.Plan.Drive, t.Plan.Created = info.UUID, time.Now()
	return nil
}

// DriveReady implements worker.Opener.
func (o *Opener) DriveReady(ctx context.Context, t *worker.Task) (bool, error) {
	c, err := o.session(ctx, t, t.Spec.Target.Endpoint)
	if err != nil {
		return false, err
	}
	info, err := c.Info(ctx, t.Plan.Drive)
	if err != nil {
		return false, err
	}
	return info.Ready()
}
