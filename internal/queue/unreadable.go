package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// errUnreadable is in the error of a record that this version cannot read, because a newer version
// wrote it or it is damaged. Functions that read many records report it to Warn and skip it. It is
// never changed.
var errUnreadable = errors.New("cannot be read")

// unreadable is the error for a job whose record cannot be read: what of it, and why.
func unreadable(id, what string, cause error) error {
	var newer *json.UnmarshalTypeError
	if errors.As(cause, &newer) {
		cause = fmt.Errorf("%s is not what this version takes there (%s)", cmp.Or(newer.Field, "it"), newer.Value)
	}
	return &transfer.Error{
		Op: "look at job " + id, Code: transfer.CodeFailed,
		Err: fmt.Errorf("its %s %w: %w", what, errUnreadable, cause),
		Hint: "it is left alone; if a newer transferd wrote it, update this one; if it is damaged, redis-cli UNLINK '" +
			recordKey(id) + "' removes it",
	}
}

// skip reports what cannot be read to Warn, once in the life of the client.
func (c *Client) skip(name string, err error) {
	if c.warn == nil {
		return
	}
	if _, again := c.skipped.LoadOrStore(name, true); !again {
		c.warn(err)
	}
}

// takeable fails unless this version knows all fields of the job's spec and plan. A worker that
// ignored a field would not do what was asked, and its next save would drop the field.
func (r *record) takeable() error {
	for key, into := range map[string]any{"spec": new(transfer.Spec), "plan": new(transfer.Plan)} {
		d := json.NewDecoder(strings.NewReader(r.text[key]))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil && r.text[key] != "" {
			return unreadable(r.id, key, err)
		}
	}
	return nil
}

// checkTakeable fails with errUnreadable, and reports the job to Warn, if this version must leave
// it to a newer one.
func (c *Client) checkTakeable(ctx context.Context, id string) error {
	r, err := c.record(ctx, id)
	if err == nil {
		err = r.takeable()
	}
	if !errors.Is(err, errUnreadable) {
		return nil // the move that takes the job up reports all other errors
	}
	c.skip(id, err)
	return err
}
