package transfer

import (
	"fmt"
	"strings"
)

const (
	jobTagPrefix         = "transferd:"
	overwritingTagPrefix = jobTagPrefix + "overwriting:"
	snapshotTagPrefix    = jobTagPrefix + "snapshot:"
	movedTagPrefix       = jobTagPrefix + "moved:"
)

// MovedTag is the tag of a drive that a migration copied from the drive with this UUID.
func MovedTag(drive string) string { return movedTagPrefix + drive }

// SnapshotTag is the tag of the clone that a job reads in place of its source drive, and then
// destroys. id is the job's.
func SnapshotTag(id string) string { return snapshotTagPrefix + id }

// PartTag is the SnapshotTag of one of several clones of a job. part tells them apart, and holds no
// blank.
func PartTag(id, part string) string { return SnapshotTag(id) + "." + part }

// IncompleteTag is the tag of a drive that a job made, until the drive is complete.
const IncompleteTag = jobTagPrefix + "incomplete"

// OverwritingTag is the tag of a drive that existed before the job, from before the job's first
// write until the drive is complete. id is the job's.
func OverwritingTag(id string) string { return overwritingTagPrefix + id }

// JobTag is the tag of a drive that a job made, or has overwritten completely. id is the job's.
func JobTag(id string) string { return jobTagPrefix + id }

// IsOurTag reports whether jobs set this tag on drives that they make or overwrite.
func IsOurTag(tag string) bool {
	return len(tag) > len(jobTagPrefix) && strings.HasPrefix(tag, jobTagPrefix)
}

// IsJobTag reports whether a tag is the JobTag of a job.
func IsJobTag(tag string) bool {
	return IsOurTag(tag) && tag != IncompleteTag &&
		!strings.HasPrefix(tag, overwritingTagPrefix) && !strings.HasPrefix(tag, snapshotTagPrefix) &&
		!strings.HasPrefix(tag, movedTagPrefix)
}

// TargetTags is what the tags of a job's target drive say.
type TargetTags struct {
	Job        bool // the job made the drive, or has overwritten it completely
	Incomplete bool // the job has not stored everything yet
}

// MakerOf returns, from a drive's tags, the ID of the job that made the drive or was the last to
// overwrite it; empty: none.
func MakerOf(tags []string) (job string) {
	for _, tag := range tags {
		if IsJobTag(tag) {
			job = tag[len(jobTagPrefix):]
		}
	}
	return job
}

// ReaderOf returns, from a drive's tags, the ID of the job that reads the drive in place of its
// source drive; empty: none.
func ReaderOf(tags []string) (job string) {
	for _, tag := range tags {
		if id, ok := strings.CutPrefix(tag, snapshotTagPrefix); ok {
			job, _, _ = strings.Cut(id, ".")
		}
	}
	return job
}

// Leftover describes the drive that a job leaves when it ends without success: one that it made, or
// an older one that it may have begun to write; empty: none.
func (p *Plan) Leftover(id string, target Ref) string {
	switch {
	case p.Migration != nil:
		return p.Migration.leftover(target)
	case !target.IsDrive() || p.Finished:
		return ""
	case target.Drive != "" && p.Drive != "" && p.ChunkSize > 0:
		return fmt.Sprintf("drive %s may be overwritten in part", target)
	case target.Drive != "":
		return ""
	case p.Drive != "" && !p.Created.IsZero():
		return fmt.Sprintf("drive %s:%s stays, incomplete", target.Endpoint, p.Drive)
	case p.Drive == "" && p.DriveRequested:
		return fmt.Sprintf("%s may have made a drive, which then has the tag %s", target.Endpoint, JobTag(id))
	}
	return ""
}

// leftover names the complete copies of drives that no server has yet.
func (p *MigrationPlan) leftover(target Ref) string {
	if !p.Copied() || p.Server != "" {
		return ""
	}
	var copies []string
	for i := range p.Drives {
		copies = append(copies, target.Endpoint+":"+p.Drives[i].Copy)
	}
	return "the copies of the drives stay, complete: " + strings.Join(copies, ", ")
}

// NoteLeftover adds the leftover drive to the error of a job that has ended without success. remedy
// says how to remove the drive.
func (j *Job) NoteLeftover(spec *Spec, p *Plan, remedy string) {
	left := p.Leftover(j.ID, spec.Target)
	if left == "" || j.Error == nil || j.State != Failed && j.State != Canceled {
		return
	}
	noted := *j.Error
	noted.Message += "; " + left
	j.Error = &noted
	if j.DriveLeft = spec.Target.Drive == "" && p.Migration == nil; !j.DriveLeft {
		return
	}
	if noted.Hint != "" {
		noted.Hint += "; "
	}
	noted.Hint += remedy
}
