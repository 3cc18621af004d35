package transfer

import (
	"fmt"
	"strings"
)

const (
	jobTagPrefix         = "transferd:"
	overwritingTagPrefix = jobTagPrefix + "overwriting:"
)

// IncompleteTag is the tag of drives that a job makes, for as long as they do not hold all that
// they are to hold.
const IncompleteTag = jobTagPrefix + "incomplete"

// OverwritingTag is the tag of a drive that was there before the job, from before its first write to
// it until the drive holds all that it is to hold.
func OverwritingTag(id string) string { return overwritingTagPrefix + id }

// JobTag is the tag of the drives that a job makes, and of those that it has overwritten.
func JobTag(id string) string { return jobTagPrefix + id }

// IsOurTag reports whether a tag is one that jobs put on the drives that they make or overwrite.
func IsOurTag(tag string) bool {
	return len(tag) > len(jobTagPrefix) && strings.HasPrefix(tag, jobTagPrefix)
}

// IsJobTag reports whether a tag is the JobTag of a job.
func IsJobTag(tag string) bool {
	return IsOurTag(tag) && tag != IncompleteTag && !strings.HasPrefix(tag, overwritingTagPrefix)
}

// DriveMark is what the tags of a job's target drive say of it.
type DriveMark struct {
	Job  bool // the job made the drive, or has overwritten it
	Open bool // the drive does not hold yet all that the job is to store
}

// MakerOf is the job that made a drive or was the last to overwrite it, by the drive's tags; empty:
// none was.
func MakerOf(tags []string) (job string) {
	for _, tag := range tags {
		if IsJobTag(tag) {
			job = tag[len(jobTagPrefix):]
		}
	}
	return job
}

// Leftover says what drive a job leaves that ends without success: one that it made, or one that
// was there and that it may have begun to write; empty: none.
func (p *Plan) Leftover(id string, target Ref) string {
	switch {
	case !target.IsDrive() || p.Finished:
		return ""
	case target.Drive != "" && p.Drive != "" && p.ChunkSize > 0:
		return fmt.Sprintf("drive %s may be overwritten in part", target)
	case target.Drive != "":
		return ""
	case p.Drive != "" && !p.Created.IsZero():
		return fmt.Sprintf("drive %s:%s stays, incomplete", target.Endpoint, p.Drive)
	case p.Drive == "" && p.Asked:
		return fmt.Sprintf("%s may have made a drive, which then has the tag %s", target.Endpoint, JobTag(id))
	}
	return ""
}

// NoteLeftover adds to the error of a job that has ended without success what drive it leaves.
// remedy says how to go on and how to remove the drive.
func (j *Job) NoteLeftover(spec *Spec, p *Plan, remedy string) {
	left := p.Leftover(j.ID, spec.Target)
	if left == "" || j.Error == nil || j.State != Failed && j.State != Canceled {
		return
	}
	noted := *j.Error
	noted.Message += "; " + left
	j.Error = &noted
	if j.DriveLeft = spec.Target.Drive == ""; !j.DriveLeft {
		return
	}
	if noted.Hint != "" {
		noted.Hint += "; "
	}
	noted.Hint += remedy
}
