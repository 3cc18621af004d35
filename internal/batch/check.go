package batch

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

const (
	// samples is how many chunks of a finished item are read back before it counts as done.
	samples = 2
	// takenSamples is how many chunks of an image are compared with a drive of the same name.
	takenSamples = 8
	// checksAtOnce is how many items are checked at the same time.
	checksAtOnce = 32
)

// Check looks at the ends of all items, and decides what is to be done. It changes nothing.
func (p *Planner) Check(ctx context.Context, plan *Plan) (*Result, error) {
	if err := p.readHistory(ctx); err != nil {
		return nil, err
	}
	if err := p.inspect(ctx, p.query); err != nil {
		return nil, err
	}
	if err := p.decideAll(ctx); err != nil {
		return nil, err
	}
	if err := p.compareTaken(ctx); err != nil {
		return nil, err
	}
	if err := p.checkSums(ctx); err != nil {
		return nil, err
	}
	estimate, err := p.estimate(ctx)
	if err != nil {
		return nil, err
	}
	return p.result(plan, estimate), nil
}

// readHistory finds the last jobs of the items.
func (p *Planner) readHistory(ctx context.Context) error {
	var keys []transfer.ItemKey
	for _, i := range p.items {
		if i.failed {
			continue
		}
		spec, err := i.spec.Fingerprint()
		if err != nil {
			return err
		}
		keys = append(keys, transfer.ItemKey{Key: i.key, Spec: spec})
	}
	last, err := p.History.LastJobs(ctx, keys, samples)
	if err != nil {
		return err
	}
	for _, i := range p.items {
		i.last = last[i.key]
	}
	return nil
}

// live reports whether a job does an item already.
func (i *item) live() bool {
	return i.last != nil && !i.last.Job.Stopping &&
		(i.last.Job.State == transfer.Queued || i.last.Job.State == transfer.Running)
}

// query is what to ask the hosts of an item's queue about it; false: nothing.
func (p *Planner) query(i *item) (q transfer.FileQuery, ok bool) {
	if i.failed || i.live() {
		return q, false
	}
	switch i.spec.Kind {
	case transfer.Upload:
		q.Source, q.Format, q.AllowMounted = i.spec.Source.Path, i.spec.Format, i.spec.AllowMounted
		if i.last != nil {
			q.Known = &i.last.Known
		}
	case transfer.Download:
		q.Target = i.spec.Target.Path
		if i.last != nil && i.last.Job.State == transfer.Succeeded {
			known := i.last.Known
			known.Identity = "" // that of the drive
			q.Known, q.Stored, q.Format = &known, i.last.Sample, i.spec.Format
		}
	default:
		return q, false
	}
	return q, true
}

// inspect asks the hosts of each queue about the items that query chooses, and sets their reports.
func (p *Planner) inspect(ctx context.Context, query func(*item) (transfer.FileQuery, bool)) error {
	queries, items := make(map[string][]transfer.FileQuery), make(map[string][]*item)
	for _, i := range p.items {
		if q, ok := query(i); ok {
			queue := i.spec.Queue
			queries[queue], items[queue] = append(queries[queue], q), append(items[queue], i)
		}
	}
	for _, queue := range slices.Sorted(maps.Keys(queries)) {
		reports, err := p.Inspector(queue).Inspect(ctx, queries[queue])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			p.find(transfer.SeverityError, nil, err)
		}
		for n, i := range items[queue] {
			if i.failed = i.failed || err != nil; err == nil {
				i.report = reports[n]
			}
			if err == nil && i.spec.Kind == transfer.Upload && i.report.Error == nil {
				i.size = i.report.Size
			}
		}
	}
	return nil
}

func (p *Planner) decideAll(ctx context.Context) error {
	decisions := make([]decision, len(p.items))
	g, ctx := panics.WithContext(ctx)
	g.SetLimit(checksAtOnce)
	for n, i := range p.items {
		switch {
		case i.failed:
		case i.live():
			decisions[n].entry = transfer.BatchEntry{Spec: &i.spec, Attached: true, Replaces: i.last.Job.ID}
			decisions[n].entry.Item.Job = i.last.Job.ID
		default:
			g.Go(func() (err error) {
				if decisions[n], err = p.decide(ctx, i); err != nil && ctx.Err() == nil {
					decisions[n].find(transfer.SeverityError, err)
				}
				return ctx.Err()
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for n, i := range p.items {
		i.entry = decisions[n].entry
		for _, f := range decisions[n].found {
			p.find(f.severity, i, f.err)
		}
	}
	return nil
}

// compareTaken compares the images of items with the drives that have the names of their new
// drives. If a sample is equal, the item's job compares all of the drive, and copies nothing.
func (p *Planner) compareTaken(ctx context.Context) error {
	err := p.inspect(ctx, func(i *item) (transfer.FileQuery, bool) {
		comparable := !i.failed && i.check != nil && i.spec.Kind == transfer.Upload &&
			(i.size < 0 || i.size <= i.check.Size)
		return transfer.FileQuery{
			Source: i.spec.Source.Path, Format: i.spec.Format, AllowMounted: i.spec.AllowMounted, Sample: takenSamples,
		}, comparable
	})
	if err != nil {
		return err
	}
	for _, i := range p.items {
		if i.failed || i.check == nil {
			continue
		}
		equal := len(i.report.Sample) > 0
		if equal {
			known := transfer.KnownImage{Size: i.size, ChunkSize: transfer.DefaultChunkSize}
			if known.Size < 0 {
				known.Size = i.check.Size
			}
			at := transfer.Ref{Endpoint: i.spec.Target.Endpoint, Drive: i.check.UUID}
			if equal, err = p.Endpoints.Holds(ctx, at, &known, i.report.Sample); err != nil {
				p.find(transfer.SeverityError, i, err)
				continue
			}
		}
		if !equal {
			p.find(transfer.SeverityError, i, transfer.Errorf(transfer.CodeExists,
				"give another name; --on-change new makes another drive of this name, overwrite replaces its content",
				"%s has a drive named %q already, %s, with other data", i.spec.Target.Endpoint, i.name, i.check.UUID))
			continue
		}
		i.compareOnly()
		p.find(transfer.SeverityInfo, i, transfer.Errorf(transfer.CodeExists, "",
			"drive %s seems to hold this image: it is compared, and nothing is copied", i.spec.Target))
	}
	return ctx.Err()
}

// compareOnly makes the item's job a comparison of its image with the drive that may hold it.
func (i *item) compareOnly() {
	was := i.spec
	i.spec = transfer.NewSpec(transfer.Verify, was.Source, transfer.Ref{
		Endpoint: was.Target.Endpoint, Drive: i.check.UUID,
	})
	s := &i.spec
	s.Format, s.AllowMounted, s.NoHoles = was.Format, was.AllowMounted, was.NoHoles
	s.Concurrency, s.LimitRate, s.Compression = was.Concurrency, was.LimitRate, was.Compression
	s.Queue, s.Priority, s.Deadline, s.Labels = was.Queue, was.Priority, was.Deadline, was.Labels
	i.target = i.check
}

// checkSize refuses an image that its drive cannot hold.
func (i *item) checkSize() error {
	switch {
	case i.spec.Kind == transfer.Download || i.size < 0:
		return nil // the size of a compressed image is known when it is unpacked
	case newDrive(&i.spec):
		return endpoints.CheckSize(&i.spec, i.size)
	case i.target != nil && i.size > i.target.Size:
		return invalid("give a larger drive, or ENDPOINT: for a new one",
			"the image has %s, and drive %s only %d", transfer.Count(i.size, "byte"), i.spec.Target, i.target.Size)
	}
	return nil
}

// checkSums checks what the items need together: of each account, and of each file system.
func (p *Planner) checkSums(ctx context.Context) error {
	drives, files, free := make(map[string]int64), make(map[string]int64), make(map[string]int64)
	for _, i := range p.items {
		if i.failed || i.entry.Spec == nil || i.entry.Attached || i.size < 0 {
			continue
		}
		switch {
		case newDrive(&i.spec) && !i.entry.Retry:
			drives[i.spec.Target.Endpoint] += max(i.size, i.spec.Size)
		case i.spec.Kind == transfer.Download && i.report.Disk != "":
			disk := i.spec.Queue + " " + i.report.Disk
			files[disk] += i.size
			free[disk] = i.report.Free
		}
	}
	for _, endpoint := range slices.Sorted(maps.Keys(drives)) {
		if err := p.Endpoints.CheckAllowance(ctx, endpoint, drives[endpoint]); err != nil {
			p.find(transfer.SeverityError, nil, err)
		}
	}
	for _, disk := range slices.Sorted(maps.Keys(files)) {
		if files[disk] > free[disk] {
			// A warning: drives with many zeros make sparse files, and compressed files are
			// smaller.
			p.find(transfer.SeverityWarning, nil, transfer.Errorf(transfer.CodeNoSpace,
				"free space there, or divide the plan",
				"the downloads have up to %d bytes, and their disk has %d bytes free", files[disk], free[disk]))
		}
	}
	return ctx.Err()
}

// estimate is how long the items take at the rates of earlier jobs; 0: not known.
func (p *Planner) estimate(ctx context.Context) (time.Duration, error) {
	rates, err := p.History.Rates(ctx)
	if err != nil {
		return 0, err
	}
	work, known := make(map[string]float64), true // seconds of one slot, by queue
	for _, i := range p.items {
		if i.failed || i.entry.Spec == nil {
			continue
		}
		endpoint := i.spec.Target.Endpoint
		if endpoint == "" {
			endpoint = i.spec.Source.Endpoint
		}
		rate := rates[transfer.RateKey(i.spec.Kind, endpoint)]
		if rate <= 0 || i.size < 0 {
			known = false
			work[i.spec.Queue] += 0
			continue
		}
		work[i.spec.Queue] += float64(i.size) / rate
	}
	longest := 0.0
	for _, queue := range slices.Sorted(maps.Keys(work)) {
		slots, err := p.History.Slots(ctx, queue)
		if err != nil {
			return 0, err
		}
		if slots == 0 {
			p.find(transfer.SeverityWarning, nil, transfer.Errorf(transfer.CodeUnreachable,
				"start one with transferd --queue "+queue, "no transferd serves queue %s, so its items wait", queue))
			continue
		}
		longest = max(longest, work[queue]/float64(slots))
	}
	if !known {
		longest = 0
	}
	return time.Duration(longest * float64(time.Second)), nil
}

func (p *Planner) result(plan *Plan, estimate time.Duration) *Result {
	r := &Result{}
	r.Batch.Plan, r.Batch.Findings, r.Batch.Estimate = plan.Path, p.ordered(), estimate.Seconds()
	r.New.Plan, r.New.Fingerprint = plan.Path, p.Fingerprint()
	for _, i := range p.items {
		shown := i.shown
		shown.Format, shown.State, shown.Size = i.report.Format, transfer.Queued, max(i.size, 0)
		shown.Job = i.entry.Item.Job // of a job that exists
		if i.entry.Item.State == transfer.Skipped {
			done := &i.entry.Item
			shown.State, shown.Drive, shown.Size, shown.Bytes = done.State, done.Drive, done.Size, done.Bytes
		}
		if i.failed {
			shown.State, shown.Job = transfer.Failed, ""
		}
		r.Batch.Items = append(r.Batch.Items, shown)
		i.entry.Key, i.entry.Item = i.key, shown
		if e := &i.entry; e.Spec != nil && e.Item.Job == "" && !i.failed {
			e.Item.Job = p.NewJob() // here, so that jobs are in the order of the plan
		}
		r.New.Entries = append(r.New.Entries, i.entry)
	}
	r.Batch.Count(false, false)
	r.Batch.State = transfer.BatchPlanned
	return r
}
