package batch

import (
	"context"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// Drive is a drive of an endpoint.
type Drive struct {
	UUID  string
	Name  string
	Size  int64 // bytes
	Tags  []string
	Ready bool // its endpoint has finished making it
}

// Endpoints makes the calls to endpoints that a plan needs. It is safe for concurrent use.
type Endpoints interface {
	// Drives lists the drives of an endpoint. CodeInvalid: there is no endpoint of that name.
	Drives(ctx context.Context, endpoint string) ([]Drive, error)
	// Holds reports whether a drive is as large as a known image, and has these chunks of it.
	Holds(ctx context.Context, drive transfer.Ref, known *transfer.KnownImage, chunks []transfer.Entry) (bool, error)
	// CheckAllowance refuses new drives of size bytes in sum, if the account may not have them.
	CheckAllowance(ctx context.Context, endpoint string, size int64) error
}

// History is what is known of earlier jobs.
type History interface {
	// LastJobs returns the last jobs of items, by the items' keys, with up to sample chunks of each
	// that has succeeded. Of a job whose record is gone only the ID is left.
	LastJobs(ctx context.Context, items []transfer.ItemKey, sample int) (map[string]*transfer.LastJob, error)
	// Rates returns the bytes a second of finished jobs, by transfer.RateKey.
	Rates(ctx context.Context) (map[string]float64, error)
	// Slots is how many jobs of a queue can run at once; 0: no worker serves it.
	Slots(ctx context.Context, queue string) (int, error)
}

// OnChange is what happens to an item whose source has changed since its job succeeded.
type OnChange string

// The values of OnChange.
const (
	ChangeFails      OnChange = "fail"      // it is an error
	ChangeMakesNew   OnChange = "new"       // the image is copied to another new drive
	ChangeOverwrites OnChange = "overwrite" // the target is overwritten
)

// Valid reports whether o is one of the values.
func (o OnChange) Valid() bool {
	return o == ChangeFails || o == ChangeMakesNew || o == ChangeOverwrites
}

// Planner makes a batch of a plan. One goroutine at a time uses it.
type Planner struct {
	Endpoints Endpoints
	History   History
	Inspector func(queue string) transfer.Inspector
	// IsEndpoint reports whether a name is that of an endpoint.
	IsEndpoint func(name string) bool
	// DriveName is the name of a new drive for an image.
	DriveName func(image transfer.Ref) string
	// NewJob returns the ID of a new job.
	NewJob   func() string
	OnChange OnChange
	// Typed are the options of the command line. They stand before the defaults of a plan, and
	// behind what an item says itself.
	Typed Options

	items    []*item
	findings []orderedFinding
	drives   map[string]*driveList
}

// item is an item of the batch while it is planned.
type item struct {
	line   int    // of the plan, counted from 0
	where  string // the same for users
	spec   transfer.Spec
	key    string
	shown  transfer.BatchItem // its ends as the plan has them
	source *Drive             // nil: the source is an image
	target *Drive             // nil: no existing drive is the target
	name   string             // shown
	report transfer.FileReport
	last   *transfer.LastJob
	size   int64 // of the image, bytes; -1: not known
	entry  transfer.BatchEntry
	failed bool   // a finding is an error, so nothing else is checked
	check  *Drive // a drive of the same name that may hold the image
}

// Result is a planned batch.
type Result struct {
	Batch transfer.Batch // as a dry run shows it
	New   transfer.NewBatch
}

// Failed reports whether a finding is an error, so that the batch must not start.
func (r *Result) Failed() bool {
	return slices.ContainsFunc(r.Batch.Findings, func(f transfer.Finding) bool {
		return f.Severity == transfer.SeverityError
	})
}

// orderedFinding is a finding with the line of the plan that it is about; -1: none.
type orderedFinding struct {
	transfer.Finding
	line int
}

// ordered returns the findings in the order of the plan; those about no item come first.
func (p *Planner) ordered() (list []transfer.Finding) {
	slices.SortStableFunc(p.findings, func(a, b orderedFinding) int { return a.line - b.line })
	for i := range p.findings {
		list = append(list, p.findings[i].Finding)
	}
	return list
}

// find adds a finding about an item; nil: it concerns several.
func (p *Planner) find(severity transfer.Severity, i *item, err error) {
	f := orderedFinding{line: -1}
	f.Severity, f.Code, f.Cause, f.Remedy = severity, transfer.CodeOf(err), err.Error(), hintOf(err)
	if i != nil {
		f.line, f.Item = i.line, i.text()
		i.failed = i.failed || severity == transfer.SeverityError
	}
	p.findings = append(p.findings, f)
}

// text identifies the item for users: where it is in the plan, and its ends.
func (i *item) text() string {
	return i.where + ": " + i.spec.Source.Redacted() + " → " + i.spec.Target.Redacted() +
		strings.TrimRight(" "+i.spec.Name, " ")
}

// driveList is the drives of an endpoint.
type driveList struct {
	all    []Drive
	byUUID map[string]*Drive
	byName map[string][]*Drive
	err    error
}

// drivesOf lists the drives of an endpoint, once. An error becomes one finding.
func (p *Planner) drivesOf(ctx context.Context, endpoint string) *driveList {
	if l, ok := p.drives[endpoint]; ok {
		return l
	}
	l := &driveList{byUUID: make(map[string]*Drive), byName: make(map[string][]*Drive)}
	if l.all, l.err = p.Endpoints.Drives(ctx, endpoint); l.err != nil {
		p.find(transfer.SeverityError, nil, l.err)
	}
	for i := range l.all {
		d := &l.all[i]
		l.byUUID[d.UUID] = d
		l.byName[d.Name] = append(l.byName[d.Name], d)
	}
	p.drives[endpoint] = l
	return l
}
