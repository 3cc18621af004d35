package queue

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/leasetest"
	"github.com/transferd/transferd/internal/transfer"
)

// tick is a tick of the model. A lease lasts three ticks, and the wait after a lapse one.
const tick = 10 * time.Second

// TestTakeoverEqualsTheModel takes jobs in every state of the model's record, and compares the
// waits. TestMoveTable tests which attempt may take, renew and end a job.
func TestTakeoverEqualsTheModel(t *testing.T) {
	c := dial(t, startRedis(t).options)
	model := leasetest.New()
	for _, status := range []leasetest.Status{leasetest.Queued, leasetest.Running} {
		for _, lapse := range []int8{-1, 0} {
			for late := range int8(3) {
				for _, restored := range []bool{false, true} {
					for _, ended := range []bool{false, true} {
						r := leasetest.Record{Status: status, Epoch: 1, Lapse: lapse, Late: late, Copy: restored}
						if status == leasetest.Queued && lapse == 0 || status == leasetest.Running && lapse < 0 {
							continue // of an older version, or not possible
						}
						t.Run(fmt.Sprintf("%+v ended %v", r, ended), func(t *testing.T) {
							want := time.Duration(model.Take(r, 0, ended).Late) * tick
							if got := takeLate(t, c, r, ended); (got - want).Abs() > tick/2 {
								t.Errorf("got a wait of %s, want %s", got, want)
							}
						})
					}
				}
			}
		}
	}
}

// takeLate takes a job whose record equals the model's, and returns for how long bytes of lost
// owners may arrive.
func takeLate(t *testing.T, c *Client, r leasetest.Record, ended bool) time.Duration {
	t.Helper()
	id := enqueue(t, c)
	at, err := c.now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ms := func(ticks int8) string { return strconv.FormatInt(at.Add(time.Duration(ticks)*tick).UnixMilli(), 10) }
	fields := []any{"epoch", "1", "owner", "before"}
	if r.Status == leasetest.Running {
		fields = append(fields, "state", string(transfer.Running))
	}
	if r.Lapse >= 0 {
		fields = append(fields, "lapse", ms(r.Lapse))
	}
	if r.Late > 0 {
		fields = append(fields, "late", ms(r.Late))
	}
	if r.Copy {
		fields = append(fields, "redis", "another")
	}
	if err := c.rdb.HSet(t.Context(), recordKey(id), fields...).Err(); err != nil {
		t.Fatal(err)
	}
	a := moveArgs{
		owner: owner{token: "after"}, lease: 3 * tick, late: tick,
		values: []string{"worker", "w", "owner", "after", "home", ""},
	}
	if ended {
		a.ended = "before"
	}
	taken, late, err := c.runAcquire(t.Context(), id, a)
	if err != nil || taken == nil {
		t.Fatalf("not taken: %v", err)
	}
	left, _ := strconv.Atoi(late) // empty: none
	return time.Duration(left) * time.Millisecond
}

// TestOwnerOfAnotherRedisRenewsFirst: after Redis was replaced, an owner cannot end its job until a
// renewal has returned how long bytes of unknown owners may arrive.
func TestOwnerOfAnotherRedisRenewsFirst(t *testing.T) {
	c := dial(t, startRedis(t).options)
	a, err := c.acquire(t.Context(), enqueue(t, c), anyEpoch, "w", defaultTiming, nil)
	if err != nil || a == nil {
		t.Fatalf("not taken: %v", err)
	}
	if _, unclean := a.Lease().Late(); unclean {
		t.Error("a new job has late bytes")
	}
	if err := c.rdb.HSet(t.Context(), recordKey(a.Job.ID), "redis", "another").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.finish(t.Context(), succeedMove); err != nil {
		t.Fatal(err)
	}
	if job, err := c.Job(t.Context(), a.Job.ID); err != nil || job.State != transfer.Running {
		t.Errorf("before a renewal the owner ended the job: it is %s, %v", job.State, err)
	}
	if err := a.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := defaultTiming.lease + defaultTiming.late
	if left, unclean := a.Lease().Late(); !unclean || left < want-10*time.Second || left > want {
		t.Errorf("got a wait of %s, want %s less the time since this Redis was started", left, want)
	}
	if _, err := a.finish(t.Context(), succeedMove); err != nil {
		t.Fatal(err)
	}
	if job, err := c.Job(t.Context(), a.Job.ID); err != nil || job.State != transfer.Succeeded {
		t.Errorf("the job is %s, %v", job.State, err)
	}
}
