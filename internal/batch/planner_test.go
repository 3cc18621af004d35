package batch

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	uuidA = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
	uuidB = "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb"
	mib   = 1 << 20
)

// world is what a planner sees: endpoints, files and earlier jobs.
type world struct {
	drives map[string][]Drive
	denied string // an endpoint that refuses the credentials
	left   int64  // what each account may still use, bytes
	other  bool   // drives hold other data
	files  map[string]transfer.FileReport
	last   map[string]*transfer.LastJob // by source
	rates  map[string]float64
	slots  int
	keys   map[string]string // sources by the keys of their items
}

func (w *world) Drives(_ context.Context, endpoint string) ([]Drive, error) {
	if endpoint == w.denied {
		return nil, transfer.Errorf(transfer.CodeUnauthorized, "check the password", "%s answered 401", endpoint)
	}
	return w.drives[endpoint], nil
}

func (w *world) Holds(context.Context, transfer.Ref, *transfer.KnownImage, []transfer.Entry) (bool, error) {
	return !w.other, nil
}

func (w *world) CheckAllowance(_ context.Context, endpoint string, size int64) error {
	if size > w.left {
		return transfer.Errorf(transfer.CodeNoSpace, "add money", "%s lacks %d bytes", endpoint, size-w.left)
	}
	return nil
}

func (w *world) Inspect(_ context.Context, queries []transfer.FileQuery) ([]transfer.FileReport, error) {
	reports := make([]transfer.FileReport, len(queries))
	for i, q := range queries {
		r, ok := w.files[q.Pattern+q.Source+q.Target]
		if !ok && q.Source != "" {
			r.Error = &transfer.Failure{Code: transfer.CodeNotFound, Message: "no such file", Hint: "check the path"}
		}
		if q.Sample > 0 {
			r.Sample = make([]transfer.Entry, 1)
		}
		reports[i] = r
	}
	return reports, nil
}

func (w *world) LastJobs(_ context.Context, keys []transfer.ItemKey, _ int) (map[string]*transfer.LastJob, error) {
	found := make(map[string]*transfer.LastJob)
	for _, key := range keys {
		if l, ok := w.last[w.keys[key.Key]]; ok {
			found[key.Key] = l
		}
	}
	return found, nil
}

func (w *world) Rates(context.Context) (map[string]float64, error) { return w.rates, nil }
func (w *world) Slots(context.Context, string) (int, error)        { return w.slots, nil }

// planned plans a text in a world.
func (w *world) planned(t *testing.T, text string, change OnChange, typed Options) *Result {
	t.Helper()
	p, err := writePlan(t, "plan.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	planner := &Planner{
		Endpoints: w, History: w, Inspector: func(string) transfer.Inspector { return w },
		IsEndpoint: func(name string) bool { return name == "zrh" || name == "lvs" },
		DriveName:  func(r transfer.Ref) string { return strings.TrimSuffix(strings.TrimPrefix(r.Path, "/"), ".img") },
		NewJob:     func() string { n++; return fmt.Sprint("job", n) }, OnChange: change, Typed: typed,
	}
	if err := planner.Expand(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.keys = make(map[string]string)
	for _, i := range planner.items {
		w.keys[i.key] = i.spec.Source.String()
	}
	r, err := planner.Check(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newWorld() *world {
	return &world{
		drives: map[string][]Drive{
			"zrh": {{UUID: uuidA, Name: "old", Size: 4 * mib, Tags: []string{"prod"}, Ready: true}},
		},
		left: 1 << 40, slots: 2,
		files: map[string]transfer.FileReport{
			"/a.img": {Size: 2 * mib, Format: "raw"}, "/b.img": {Size: 3 * mib, Format: "raw"},
			"/odd.img": {Size: 100, Format: "raw"}, "/p.gz": {Size: -1, Format: "gz"},
			"/*.img": {Names: []string{"/a.img", "/b.img"}}, "/down/old.img": {Free: mib, Disk: "1"},
			"/there.img": {Exists: true, Free: 1 << 40, Disk: "1"},
		},
	}
}

// TestFindings: each mistake of a plan is found, with its severity.
func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		plan   string
		change func(*world)
		want   string // severity and code, of each
	}{
		"nothing wrong":     {plan: "{source: '/*.img', target: 'zrh:'}"},
		"unreadable":        {plan: "{source: /c.img, target: 'zrh:'}", want: "error not_found"},
		"no match":          {plan: "{source: '/*.iso', target: 'zrh:'}", want: "error not_found"},
		"sectors":           {plan: "{source: /odd.img, target: 'zrh:'}", want: "error invalid"},
		"too small":         {plan: "{source: /a.img, target: 'zrh:', size: 1M}", want: "error invalid"},
		"small drive":       {plan: "{source: /b.img, target: 'zrh:old', overwrite: true}", want: ""},
		"existing drive":    {plan: "{source: /a.img, target: 'zrh:old'}", want: "error exists"},
		"unknown drive":     {plan: "{source: 'zrh:none', target: 'lvs:'}", want: "error not_found"},
		"unknown endpoint":  {plan: "{source: /a.img, target: 'ams:'}", want: "error invalid"},
		"no colon":          {plan: "{source: /a.img, target: zrh}", want: "error invalid"},
		"no drive":          {plan: "{source: /a.img, target: /b.img}", want: "error invalid"},
		"standard input":    {plan: "{source: '-', target: 'zrh:'}", want: "error invalid"},
		"all drives as one": {plan: "{source: 'zrh:', target: 'lvs:'}", want: "error invalid"},
		"no tag":            {plan: "{source: 'zrh:tag=x', target: 'lvs:'}", want: "error not_found"},
		"same name": {
			plan: "{source: /a.img, target: 'zrh:', name: x}, {source: /b.img, target: 'zrh:', name: x}",
			want: "error invalid",
		},
		"name taken": {
			plan:   "{source: /a.img, target: 'zrh:', name: old}",
			change: func(w *world) { w.other = true },
			want:   "error exists",
		},
		"same content":     {plan: "{source: /a.img, target: 'zrh:', name: old}", want: "info exists"},
		"file exists":      {plan: "{source: 'zrh:old', target: /there.img}", want: "error exists"},
		"file overwritten": {plan: "{source: 'zrh:old', target: /there.img, overwrite: true}"},
		"disk":             {plan: "{source: 'zrh:*', target: /down/}", want: "warning no_space"},
		"quota": {
			plan:   "{source: '/*.img', target: 'zrh:'}",
			change: func(w *world) { w.left = 4 * mib },
			want:   "error no_space",
		},
		"credentials": {
			plan:   "{source: '/*.img', target: 'zrh:'}",
			change: func(w *world) { w.denied = "zrh" },
			want:   "error unauthorized",
		},
		"no worker": {
			plan:   "{source: 'zrh:old', target: 'lvs:'}",
			change: func(w *world) { w.slots = 0 },
			want:   "warning unreachable",
		},
		"mode of an upload":  {plan: "{source: /a.img, target: 'zrh:', mode: live}", want: "error invalid"},
		"name of a download": {plan: "{source: 'zrh:old', target: /x.img, name: y}", want: "error invalid"},
	} {
		w := newWorld()
		if c.change != nil {
			c.change(w)
		}
		r := w.planned(t, "items: ["+c.plan+"]", ChangeFails, nil)
		var got []string
		for _, f := range r.Batch.Findings {
			got = append(got, string(f.Severity)+" "+string(f.Code))
			if f.Cause == "" || f.Remedy == "" && f.Severity == transfer.SeverityError {
				t.Errorf("%s: got %+v, want a cause and a remedy", name, f)
			}
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: got %q (%+v), want %q", name, text, r.Batch.Findings, c.want)
		}
	}
}

// TestItemsGoOnWhereTheirLastJobsAre: nothing twice, and nothing that was not asked for.
func TestItemsGoOnWhereTheirLastJobsAre(t *testing.T) {
	job := func(state transfer.State, change func(*transfer.LastJob)) map[string]*transfer.LastJob {
		l := &transfer.LastJob{Job: transfer.Job{ID: "last", State: state}}
		l.Job.Drive = uuidB
		l.Spec = transfer.NewSpec(transfer.Upload, transfer.Ref{Path: "/a.img"}, transfer.Ref{Endpoint: "zrh"})
		l.Spec.Name, l.Known = "a", transfer.KnownImage{Identity: "same", Size: 2 * mib, ChunkSize: mib}
		l.Sample = make([]transfer.Entry, 1)
		if change != nil {
			change(l)
		}
		return map[string]*transfer.LastJob{"/a.img": l}
	}
	made := Drive{UUID: uuidB, Name: "a", Size: 2 * mib, Tags: []string{transfer.JobTag("last")}, Ready: true}
	untagged, small := made, made
	untagged.Tags, small.Size = nil, mib
	for name, c := range map[string]struct {
		last      map[string]*transfer.LastJob
		drive     *Drive
		unchanged bool
		other     bool
		change    OnChange
		want      string
	}{
		"none":    {want: "job1"},
		"queued":  {last: job(transfer.Queued, nil), want: "last attached"},
		"running": {last: job(transfer.Running, nil), drive: &made, want: "last attached"},
		"stopping": {
			last:      job(transfer.Running, func(l *transfer.LastJob) { l.Job.Stopping = true }),
			unchanged: true, want: "last retry",
		},
		"pruned":          {last: job("", nil), want: "job1"},
		"failed":          {last: job(transfer.Failed, nil), unchanged: true, want: "last retry"},
		"failed, changed": {last: job(transfer.Failed, nil), want: "job1"},
		"failed, other size": {
			last:      job(transfer.Failed, func(l *transfer.LastJob) { l.Spec.Size = 7 * mib }),
			unchanged: true, want: "job1",
		},
		"done":         {last: job(transfer.Succeeded, nil), drive: &made, unchanged: true, want: "skipped"},
		"drive gone":   {last: job(transfer.Succeeded, nil), unchanged: true, want: "job1"},
		"tag gone":     {last: job(transfer.Succeeded, nil), drive: &untagged, unchanged: true, want: "error"},
		"smaller":      {last: job(transfer.Succeeded, nil), drive: &small, unchanged: true, want: "error"},
		"other data":   {last: job(transfer.Succeeded, nil), drive: &made, unchanged: true, other: true, want: "error"},
		"changed":      {last: job(transfer.Succeeded, nil), drive: &made, want: "error"},
		"changed, new": {last: job(transfer.Succeeded, nil), drive: &made, change: ChangeMakesNew, want: "job1"},
		"changed, overwrite": {
			last: job(transfer.Succeeded, nil), drive: &made, change: ChangeOverwrites,
			want: "job1 overwrites " + uuidB,
		},
	} {
		w := newWorld()
		w.last, w.other = c.last, c.other
		if c.drive != nil {
			w.drives["zrh"] = append(w.drives["zrh"], *c.drive)
		}
		w.files["/a.img"] = transfer.FileReport{Size: 2 * mib, Unchanged: c.unchanged}
		if c.change == "" {
			c.change = ChangeFails
		}
		r := w.planned(t, "items: [{source: /a.img, target: 'zrh:'}]", c.change, nil)
		e := r.New.Entries[0]
		got := e.Item.Job
		switch {
		case r.Failed():
			got = "error"
		case e.Spec == nil:
			got = string(e.Item.State)
		case e.Attached:
			got += " attached"
		case e.Retry:
			got += " retry"
		case e.Spec.Overwrite:
			got += " overwrites " + e.Spec.Target.Drive
		}
		if got != c.want {
			t.Errorf("%s: got %q (%+v), want %q", name, got, r.Batch.Findings, c.want)
		}
	}
}

// TestAnItemsWordComesBeforeAFlagAndThatBeforeADefault, and labels of all are kept.
func TestAnItemsWordComesBeforeAFlagAndThatBeforeADefault(t *testing.T) {
	r := newWorld().planned(t, `
defaults: {target: "zrh:", verify: none, priority: low, name: left out, limit_rate: 1M, labels: {a: "1", b: "1"}}
items:
  - {source: /a.img, name: x, limit_rate: 3M, labels: [b=3]}
  - {source: "zrh:old", target: /x.img.gz}
`, ChangeFails, Options{"verify": {"full"}, "limit_rate": {"2M"}, "labels": {"c=2"}})
	s := r.New.Entries[0].Spec
	if s.Verify != transfer.VerifyFull || s.Priority != transfer.PriorityLow || s.LimitRate != 3*mib || s.Name != "x" {
		t.Errorf("got %+v, want the item's rate, the flag's verification, the default's priority", s)
	}
	if got := fmt.Sprint(s.Labels); got != "map[a:1 b:3 c:2]" {
		t.Errorf("got the labels %s, want all", got)
	}
	if d := r.New.Entries[1].Spec; d.Kind != transfer.Download || d.Name != "" || d.Format != transfer.FormatGzip {
		t.Errorf("got %+v, want a download without a name, in the format of its ending", d)
	}
}

// TestEstimateIsOfMeasuredRates, and unknown without them.
func TestEstimateIsOfMeasuredRates(t *testing.T) {
	w := newWorld()
	text := "items: [{source: '/*.img', target: 'zrh:'}]"
	if got := w.planned(t, text, ChangeFails, nil).Batch.Estimate; got != 0 {
		t.Errorf("without rates: got %g s, want it unknown", got)
	}
	w.rates = map[string]float64{transfer.RateKey(transfer.Upload, "zrh"): mib}
	if got := w.planned(t, text, ChangeFails, nil).Batch.Estimate; got != 2.5 { // 5 MiB at 1 MiB/s, two at once
		t.Errorf("got %g s, want 2.5", got)
	}
}

// TestThePlansOfTheSameItemsAreOne, in any order; another name is another item.
func TestThePlansOfTheSameItemsAreOne(t *testing.T) {
	of := func(text string) string { return newWorld().planned(t, text, ChangeFails, nil).New.Fingerprint }
	first := of("items: [{source: '/*.img', target: 'zrh:'}]")
	if again := of("items: [{source: /b.img, target: 'zrh:'}, {source: /a.img, target: 'zrh:'}]"); again != first {
		t.Errorf("got %s, want %s", again, first)
	}
	other := of("items: [{source: /b.img, target: 'zrh:'}, {source: /a.img, target: 'zrh:', name: x}]")
	if other == first {
		t.Error("another name: got the same plan, want another")
	}
}
