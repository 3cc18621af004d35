package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// settleTime is how long after a call without a response the endpoint may still carry it out.
const settleTime = 30 * time.Second

// Creation makes something by a call that is not idempotent: each time that the endpoint carries
// the call out, there is one more, and some of them cost money. So Do never repeats the call
// blindly. It is not safe for concurrent use.
type Creation[T any] struct {
	op   string // "create server web"
	hint string // how to see whether it was made
	// list identifies all that exist.
	list func(ctx context.Context) ([]string, error)
	// match returns those of fresh that the call may have made. fresh has appeared since the first
	// Do.
	match func(ctx context.Context, fresh []string) ([]T, error)
	send  func(ctx context.Context) (T, error)

	before  map[string]int // what existed before the first call; nil: not listed yet
	doubt   error          // of a call that may have been carried out; nil: there is none
	doubtAt time.Time
}

// Do makes the call, and may be called again after an error whose code allows a retry. If an
// earlier call may have been carried out, Do first lists what has appeared since. It returns what
// that call made; while there is nothing new, it returns the error of that call; if that stays so
// for half a minute, it makes the call again. If several new objects may be the one, Do cannot
// tell, makes no call, and returns an error that a retry does not help. After a success, Do must
// not be called again.
func (m *Creation[T]) Do(ctx context.Context) (value T, err error) {
	if m.before == nil {
		ids, err := m.list(ctx)
		if err != nil {
			return value, fmt.Errorf("%s: list what exists before: %w", m.op, transfer.NotCarriedOut(err))
		}
		m.before = count(ids)
	}
	if m.doubt != nil {
		made, err := m.made(ctx)
		switch {
		case err != nil:
			return value, m.inDoubt(err)
		case len(made) == 1:
			return made[0], nil
		case len(made) > 1:
			return value, m.inDoubt(&transfer.Error{
				Code: transfer.CodeFailed,
				Err:  fmt.Errorf("%d new objects may be the one that this call made: %w", len(made), m.doubt),
			})
		case time.Since(m.doubtAt) < settleTime:
			return value, m.inDoubt(m.doubt)
		}
		m.doubt = nil
	}
	value, err = m.send(ctx)
	if transfer.MayBeCarriedOut(err) {
		m.doubt, m.doubtAt = err, time.Now()
		err = m.inDoubt(err)
	}
	return value, err
}

// made returns what an earlier call may have made.
func (m *Creation[T]) made(ctx context.Context) ([]T, error) {
	ids, err := m.list(ctx)
	if err != nil {
		return nil, err
	}
	left := make(map[string]int, len(m.before))
	for id, n := range m.before {
		left[id] = n
	}
	var fresh []string
	for _, id := range ids {
		if left[id]--; left[id] < 0 {
			fresh = append(fresh, id)
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	return m.match(ctx, fresh)
}

// inDoubt is err with the hint how to see whether the object was made.
func (m *Creation[T]) inDoubt(err error) error {
	e := &transfer.Error{Code: transfer.CodeOf(err), Hint: m.hint, Err: err}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		e.RetryAfter = cause.RetryAfter
	}
	return e
}

func count(ids []string) map[string]int {
	n := make(map[string]int, len(ids))
	for _, id := range ids {
		n[id]++
	}
	return n
}

// creation is the Creation of an object of kind k. describe reads one of those that list
// identifies; wanted reports whether it is like the one that cmd asks for.
func creation[T any](
	c *Client, k *kind, cmd command, parse func(Object) (T, error),
	list func(context.Context) ([]string, error),
	describe func(context.Context, string) (T, error), wanted func(*T) bool,
) *Creation[T] {
	return &Creation[T]{
		op: cmd.op, hint: "the " + k.name + " may exist all the same: " + k.missing, list: list,
		send: func(ctx context.Context) (T, error) { return one(ctx, c, cmd, parse) },
		match: func(ctx context.Context, fresh []string) (made []T, err error) {
			for _, id := range fresh {
				value, err := describe(ctx, id)
				switch {
				case transfer.CodeOf(err) == transfer.CodeNotFound: // destroyed meanwhile
				case err != nil:
					return nil, err
				case wanted(&value):
					made = append(made, value)
				}
			}
			return made, nil
		},
	}
}
