package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// wakeup delivers jobs to workers by asynq. The asynq task of a job is its trigger and holds only
// the job's ID. asynq may lose a trigger or deliver it twice: maintenance replaces lost triggers,
// and a worker that gets a trigger reads the record first. It is safe for concurrent use.
type wakeup struct {
	rdb       redis.UniversalClient
	tasks     *asynq.Client
	inspector *asynq.Inspector
}

func newWakeup(rdb redis.UniversalClient) *wakeup {
	return &wakeup{
		rdb: rdb, tasks: asynq.NewClientFromRedisClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb),
	}
}

const (
	// taskType is the type of every trigger.
	taskType = "transfer"
	// taskTimeout is asynq's limit for one delivery; a transfer has limits of its own.
	taskTimeout = 30 * 24 * time.Hour
	// taskRetries is how often asynq may deliver a trigger again. It limits no attempts: the record
	// counts those.
	taskRetries = 25
	// pickupTimeout is how long after the delivery of a trigger the job may have no lease. Then
	// another trigger is made.
	pickupTimeout = 15 * time.Second
)

// queueName is the asynq queue of a queue and a priority.
func queueName(queue string, p transfer.Priority) string {
	if p == transfer.PriorityDefault {
		return queue
	}
	return queue + "." + string(p)
}

// taskOf is the asynq queue and the ID of the job's trigger: one for each epoch.
func taskOf(r *record) (queue, task string) {
	return queueName(r.spec.Queue, r.spec.Priority), fmt.Sprintf("%s:%d", r.id, r.epoch)
}

// epochOf is the epoch in the ID of a trigger, which may have more behind it (triggerAgain).
func epochOf(task string) string {
	_, rest, _ := strings.Cut(task, ":")
	epoch, _, _ := strings.Cut(rest, ":")
	return epoch
}

// taskKey is the key of a task in asynq. Reading it for many jobs at once is cheaper than asynq's
// inspector, which reads one task per call.
func taskKey(queue, task string) string { return "asynq:{" + queue + "}:t:" + task }

// push enqueues a trigger in asynq. exists: asynq has one of that ID.
func (w *wakeup) push(ctx context.Context, r *record, queue, task string) (exists bool, err error) {
	if strings.TrimSpace(queue) == "" {
		return false, unreadable(r.id, "spec", errors.New("it names no queue"))
	}
	_, err = w.tasks.EnqueueContext(ctx, asynq.NewTask(taskType, []byte(r.id)),
		asynq.TaskID(task), asynq.Queue(queue), asynq.MaxRetry(taskRetries), asynq.Timeout(taskTimeout),
		asynq.Retention(0))
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return true, nil
	}
	return false, failed("enqueue job "+r.id, err)
}

// trigger makes a trigger for the job, unless it has one.
func (w *wakeup) trigger(ctx context.Context, r *record) error {
	queue, task := taskOf(r)
	if exists, err := w.push(ctx, r, queue, task); !exists || err != nil {
		return err
	}
	info, err := w.inspector.GetTaskInfo(queue, task)
	if err != nil {
		return nil // it was delivered and handled meanwhile
	}
	switch info.State {
	case asynq.TaskStateArchived, asynq.TaskStateCompleted:
		// asynq does not deliver it again, and accepts no other task of this ID.
		if err := w.inspector.DeleteTask(queue, task); err != nil {
			return failed("remove an old trigger of job "+r.id, err)
		}
		_, err = w.push(ctx, r, queue, task)
		return err
	case asynq.TaskStateRetry, asynq.TaskStateScheduled:
		// asynq delivers it by the clock of the worker that returned it, which may be hours ahead.
		_ = w.inspector.RunTask(queue, task) // it fails if the task was delivered meanwhile
	case asynq.TaskStateActive:
		return w.triggerAgain(ctx, r, queue, task)
	}
	return nil
}

// triggerAgain makes another trigger for a job whose trigger was delivered, unless a worker has
// acquired the job since r was read. The worker that got the trigger may have been killed before it
// acquired the job, which asynq notices only after a minute or two. If it lives, one of the two
// workers acquires the job. A job without a lease may have been acquired too: its lease may have
// lapsed in an outage of Redis, in which this call has waited.
func (w *wakeup) triggerAgain(ctx context.Context, r *record, queue, task string) error {
	var leases *redis.IntCmd
	var epoch *redis.StringCmd
	var at *redis.TimeCmd
	_, err := w.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		epoch, leases, at = p.HGet(ctx, recordKey(r.id), "epoch"), p.Exists(ctx, leaseKey(r.id)), p.Time(ctx)
		return nil
	})
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare; the record was deleted
		return nil
	}
	if err != nil || leases.Val() == 1 || epoch.Val() != strconv.FormatInt(r.epoch, 10) {
		return failed("read the lease of job "+r.id, err)
	}
	_, err = w.push(ctx, r, queue, fmt.Sprintf("%s:%d", task, timeOf(at).UnixMilli()/pickupTimeout.Milliseconds()))
	return err
}

// untriggered returns the jobs that have no pending trigger.
func (w *wakeup) untriggered(ctx context.Context, records []*record) ([]*record, error) {
	states := make([]*redis.StringCmd, len(records))
	_, err := w.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, r := range records {
			states[i] = p.HGet(ctx, taskKey(taskOf(r)), "state")
		}
		return nil
	})
	if err != nil && !answered(err) {
		return nil, failed("read triggers", err)
	}
	var without []*record
	for i, r := range records {
		switch states[i].Val() {
		case "pending":
		default:
			without = append(without, r)
		}
	}
	return without, nil
}
