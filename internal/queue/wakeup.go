package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// wakeup has asynq deliver jobs to workers. The asynq task of a job is its trigger and carries no more than the job's ID.
// asynq may lose a trigger or deliver it twice: maintenance looks for lost ones, and a worker that is woken for a job looks
// at the record first. It is safe for concurrent use.
type wakeup struct {
	rdb       redis.UniversalClient
	tasks     *asynq.Client
	inspector *asynq.Inspector
}

func newWakeup(rdb redis.UniversalClient) *wakeup {
	return &wakeup{rdb: rdb, tasks: asynq.NewClientFromRedisClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb)}
}

const (
	// taskType is that of every trigger.
	taskType = "transfer"
	// taskTimeout is asynq's limit for one delivery; a transfer has limits of its own.
	taskTimeout = 30 * 24 * time.Hour
	// taskRetries is how often asynq may deliver a trigger again; the record has the budget that counts.
	taskRetries = 25
	// pickUp is how long a worker may take from the delivery of a trigger to the job's lease before another one is woken.
	pickUp = 15 * time.Second
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

// taskKey is where asynq keeps a task. To read it saves asking asynq for each job; a task that is not found there is asked for.
func taskKey(queue, task string) string { return "asynq:{" + queue + "}:t:" + task }

// push gives asynq a trigger; exists: it has one of that ID.
func (w *wakeup) push(ctx context.Context, r *record, queue, task string) (exists bool, err error) {
	if strings.TrimSpace(queue) == "" {
		return false, unreadable(r.id, "spec", errors.New("it names no queue"))
	}
	_, err = w.tasks.EnqueueContext(ctx, asynq.NewTask(taskType, []byte(r.id)),
		asynq.TaskID(task), asynq.Queue(queue), asynq.MaxRetry(taskRetries), asynq.Timeout(taskTimeout), asynq.Retention(0))
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return true, nil
	}
	return false, failed("enqueue job "+r.id, err)
}

// trigger wakes a worker for the job. That the job has a trigger is success.
func (w *wakeup) trigger(ctx context.Context, r *record) error {
	queue, task := taskOf(r)
	if exists, err := w.push(ctx, r, queue, task); !exists || err != nil {
		return err
	}
	info, err := w.inspector.GetTaskInfo(queue, task)
	if err != nil {
		return nil // it was delivered and done meanwhile
	}
	switch info.State {
	case asynq.TaskStateArchived, asynq.TaskStateCompleted:
		// asynq delivers it no more, and accepts no other one of this ID.
		if err := w.inspector.DeleteTask(queue, task); err != nil {
			return failed("remove an old trigger of job "+r.id, err)
		}
		_, err = w.push(ctx, r, queue, task)
		return err
	case asynq.TaskStateRetry, asynq.TaskStateScheduled:
		// asynq delivers it at a time by some worker's clock, which may be hours ahead.
		_ = w.inspector.RunTask(queue, task) // it fails if the task was delivered meanwhile
	case asynq.TaskStateActive:
		return w.triggerAgain(ctx, r, queue, task)
	}
	return nil
}

// triggerAgain wakes another worker for a job whose trigger was delivered, unless the job has a lease. The worker that was
// woken may have been killed before it took the job up, which asynq notices after a minute or two; if it was not, one of the
// two takes the job.
func (w *wakeup) triggerAgain(ctx context.Context, r *record, queue, task string) error {
	var leases *redis.IntCmd
	var at *redis.TimeCmd
	_, err := w.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		leases, at = p.Exists(ctx, leaseKey(r.id)), p.Time(ctx)
		return nil
	})
	if leases.Val() == 1 || err != nil {
		return failed("look at the lease of job "+r.id, err)
	}
	_, err = w.push(ctx, r, queue, fmt.Sprintf("%s:%d", task, timeOf(at).UnixMilli()/pickUp.Milliseconds()))
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
		return nil, failed("look at triggers", err)
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
