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

// errUnreadable is in the chain of the error for a record that this version cannot read, because a
// newer version wrote it or it is damaged. Functions that read many records report such a record to
// Warn and skip it. No function changes it.
var errUnreadable = errors.New("cannot be read")

// unreadable is the error for a job whose record cannot be read. what names the part of the record.
func unreadable(id, what string, cause error) error {
	var newer *json.UnmarshalTypeError
	if errors.As(cause, &newer) {
		cause = fmt.Errorf("%s is of a type that this version does not accept (%s)",
			cmp.Or(newer.Field, "it"), newer.Value)
	}
	return &transfer.Error{
		Op: "read job " + id, Code: transfer.CodeFailed,
		Err: fmt.Errorf("its %s %w: %w", what, errUnreadable, cause),
		Hint: "transferd does not change it; if a newer transferd wrote it, update this one; if it is damaged, " +
			"redis-cli UNLINK '" + recordKey(id) + "' removes it",
	}
}

// skip reports an unreadable record to Warn, once per client.
func (c *Client) skip(name string, err error) {
	if c.warn == nil {
		return
	}
	if _, again := c.skipped.LoadOrStore(name, true); !again {
		c.warn(err)
	}
}

// checkFields fails if the job's spec or plan has a field that this version does not have. A worker
// that ignored the field would run another job than the user wanted, and its next save would drop
// the field.
func (r *record) checkFields() error {
	for key, into := range map[string]any{"spec": new(transfer.Spec), "plan": new(transfer.Plan)} {
		d := json.NewDecoder(strings.NewReader(r.text[key]))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil && r.text[key] != "" {
			return unreadable(r.id, key, err)
		}
	}
	return nil
}

// checkReadable fails with errUnreadable, and reports the job to Warn, if only a newer version can
// run it.
func (c *Client) checkReadable(ctx context.Context, id string) error {
	r, err := c.record(ctx, id)
	if err == nil {
		err = r.checkFields()
	}
	if !errors.Is(err, errUnreadable) {
		return nil // acquire reports all other errors
	}
	c.skip(id, err)
	return err
}
