package batch

import (
	"context"
	"fmt"
	"slices"

	"github.com/transferd/transferd/internal/transfer"
)

// decision is what is to be done for an item, and what was found on the way.
type decision struct {
	entry transfer.BatchEntry
	found []found
}

type found struct {
	severity transfer.Severity
	err      error
}

func (d *decision) find(severity transfer.Severity, err error) {
	d.found = append(d.found, found{severity, err})
}

// decide decides what is to be done for an item whose ends have been looked at. Several items are
// decided at the same time.
func (p *Planner) decide(ctx context.Context, i *item) (d decision, err error) {
	last := i.last
	switch {
	case last == nil || last.Job.State == "": // none, or its record was pruned
		return d, p.begin(i, &d)
	case last.Job.State == transfer.Succeeded:
		return d, p.decideDone(ctx, i, &d)
	case p.continues(i):
		d.entry = transfer.BatchEntry{Spec: &i.spec, Retry: true, Replaces: last.Job.ID}
		d.entry.Item.Job = last.Job.ID
		return d, p.checkSource(i, &d)
	}
	if last.Job.DriveLeft {
		d.find(transfer.SeverityWarning, invalid("transferctl jobs cancel --destroy "+last.Job.ID+" removes it",
			"job %s, which has %s, left an incomplete drive", last.Job.ID, last.Job.State))
	}
	return d, p.begin(i, &d)
}

// continues reports whether the last job of an item, which has not succeeded, can continue: it was
// to do the same, with the same source.
func (p *Planner) continues(i *item) bool {
	was, is := &i.last.Spec, &i.spec
	same := was.Kind == is.Kind && was.Target == is.Target && was.Size == is.Size && was.Format == is.Format &&
		was.ChunkSize == is.ChunkSize && slices.Equal(was.Tags, is.Tags) && slices.Equal(was.Readers, is.Readers)
	changed := i.last.Job.Error != nil && i.last.Job.Error.Code == transfer.CodeSourceChanged ||
		i.spec.Kind == transfer.Upload && i.last.Known.Identity != "" && !i.report.Unchanged
	return same && !changed
}

// decideDone decides about an item whose last job has succeeded: it is done if its target still
// holds the image, and its source has not changed.
func (p *Planner) decideDone(ctx context.Context, i *item, d *decision) error {
	wrong, err := p.targetDiffers(ctx, i)
	if err != nil {
		return err
	}
	if wrong == gone {
		return p.begin(i, d)
	}
	if wrong == "" {
		if wrong, err = p.sourceDiffers(ctx, i); err != nil {
			return err
		}
	}
	if wrong == "" {
		d.skip(i)
		return nil
	}
	switch p.OnChange {
	case ChangeMakesNew:
		if i.spec.Kind == transfer.Download {
			break
		}
		return p.create(i, d)
	case ChangeOverwrites:
		return p.overwrite(i, d)
	}
	d.find(transfer.SeverityError, transfer.Errorf(transfer.CodeSourceChanged, changeHint(i),
		"job %s has done it, but %s", i.last.Job.ID, wrong))
	return nil
}

// changeHint names what --on-change can do for an item.
func changeHint(i *item) string {
	switch i.spec.Kind {
	case transfer.Clone:
		return "--on-change new makes another drive"
	case transfer.Download:
		return "--on-change overwrite replaces the file"
	}
	return "--on-change new makes another drive, --on-change overwrite replaces the content of this one"
}

// skip says that the item is done.
func (d *decision) skip(i *item) {
	j := &i.last.Job
	size := i.last.Known.Size
	d.entry.Item = transfer.BatchItem{State: transfer.Skipped, Job: j.ID, Drive: j.Drive, Size: size, Bytes: size}
}

// gone is why the target of an item does not hold the image: it does not exist any more.
const gone = "gone"

// targetDiffers says why the target of a finished job does not hold the image; empty: it does.
func (p *Planner) targetDiffers(ctx context.Context, i *item) (why string, err error) {
	last := i.last
	if i.spec.Kind == transfer.Download {
		switch {
		case !i.report.Exists:
			return gone, nil
		case !i.report.Unchanged:
			return "the file holds something else now", nil
		}
		return "", nil
	}
	endpoint := i.spec.Target.Endpoint
	drive := p.drives[endpoint].byUUID[last.Job.Drive]
	if drive == nil {
		return gone, nil
	}
	at := transfer.Ref{Endpoint: endpoint, Drive: drive.UUID}
	switch wrote := last.Spec.Kind != transfer.Verify; {
	case wrote && !slices.Contains(drive.Tags, transfer.JobTag(last.Job.ID)):
		return fmt.Sprintf("drive %s does not carry its tag any more: another job, or a user, has changed it", at), nil
	case drive.Size < last.Known.Size || last.Spec.Size > 0 && drive.Size != last.Spec.Size:
		return fmt.Sprintf("drive %s has another size now", at), nil
	}
	equal, err := p.holds(ctx, at, last)
	if err != nil || equal {
		return "", err
	}
	return fmt.Sprintf("drive %s holds other data now", at), nil
}

// holds reports whether a drive has the sampled chunks of a finished job.
func (p *Planner) holds(ctx context.Context, at transfer.Ref, last *transfer.LastJob) (bool, error) {
	if len(last.Sample) == 0 {
		return true, nil // an image of zeros, or a clone that was not verified
	}
	return p.Endpoints.Holds(ctx, at, &last.Known, last.Sample)
}

// sourceDiffers says how the source has changed since its job succeeded; empty: it has not, or it
// is gone.
func (p *Planner) sourceDiffers(ctx context.Context, i *item) (how string, err error) {
	switch {
	case i.source != nil && i.source.Size != i.last.Known.Size:
		return "the source has another size now", nil
	case i.source != nil:
		equal, err := p.holds(ctx, i.spec.Source, i.last)
		if err != nil || equal {
			return "", err
		}
	case i.report.Error != nil || i.report.Unchanged:
		return "", nil
	}
	return "the source has changed since", nil
}

// begin decides about an item that is not done: its job is a new one.
func (p *Planner) begin(i *item, d *decision) error {
	if i.spec.Kind == transfer.Download && i.report.Exists && !i.spec.Overwrite && p.OnChange != ChangeOverwrites {
		d.find(transfer.SeverityError, transfer.Errorf(transfer.CodeExists,
			"write overwrite: true, or another target", "%s exists", i.spec.Target.Path))
		return nil
	}
	if i.spec.Kind == transfer.Download && i.report.Exists {
		i.spec.Overwrite = true
	}
	if newDrive(&i.spec) {
		if taken := p.taken(i); taken != nil {
			switch p.OnChange {
			case ChangeFails:
				i.check = taken // compareTaken decides
			case ChangeOverwrites:
				return p.overwriteDrive(i, taken, d)
			}
		}
	}
	return p.create(i, d)
}

// taken is a complete drive that has the name of the item's new drive; nil: there is none.
func (p *Planner) taken(i *item) *Drive {
	for _, d := range p.drives[i.spec.Target.Endpoint].byName[i.name] {
		if i.source != nil && d.UUID == i.source.UUID {
			continue // a clone on the endpoint of its source has the same name by default
		}
		if !slices.Contains(d.Tags, transfer.IncompleteTag) && transfer.ReaderOf(d.Tags) == "" {
			return d
		}
	}
	return nil
}

// create gives the item a new job.
func (p *Planner) create(i *item, d *decision) error {
	d.entry = transfer.BatchEntry{Spec: &i.spec} // result gives it the ID of its job
	if i.last != nil {
		d.entry.Replaces = i.last.Job.ID
	}
	return p.checkSource(i, d)
}

// overwrite gives an item whose target does not hold its image any more a job that writes the same
// target.
func (p *Planner) overwrite(i *item, d *decision) error {
	if i.spec.Kind == transfer.Download {
		i.spec.Overwrite = true
		return p.create(i, d)
	}
	return p.overwriteDrive(i, p.drives[i.spec.Target.Endpoint].byUUID[i.last.Job.Drive], d)
}

func (p *Planner) overwriteDrive(i *item, target *Drive, d *decision) error {
	if i.spec.Kind != transfer.Upload {
		d.find(transfer.SeverityError, invalid("--on-change new makes another drive", "a clone overwrites no drive"))
		return nil
	}
	s := &i.spec
	s.Target.Drive, s.Overwrite = target.UUID, true
	s.Name, s.Size, s.Tags, s.Readers = "", 0, nil, nil
	i.target = target
	d.find(transfer.SeverityWarning, invalid("", "drive %s is overwritten", s.Target))
	return p.create(i, d)
}

// checkSource refuses an image that cannot be read, or that does not fit.
func (p *Planner) checkSource(i *item, d *decision) error {
	if i.report.Error != nil {
		d.find(transfer.SeverityError, i.report.Error.Err())
		return nil
	}
	err := i.checkSize()
	if err != nil {
		d.find(transfer.SeverityError, err)
	}
	return nil
}
