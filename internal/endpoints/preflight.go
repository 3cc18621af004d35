package endpoints

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// billingTimeout bounds the calls about the account before a drive is made. It is enough for a new
// connection over a slow link; a billing system that takes longer counts as not there.
const billingTimeout = 2 * time.Second

// preflight is what a job finds out before it makes a drive.
type preflight struct {
	made      string        // UUID of the drive that an earlier call made; empty: none
	origin    api.DriveInfo // the source, if it is a drive
	originErr error         // of reading the source, which no longer matters if the drive is made
	account   account
}

// preflight makes its calls at the same time, so that it takes one round trip. With find it looks
// for the drive that an earlier call made.
func (o *Opener) preflight(ctx context.Context, c *api.Client, s *worker.Session, find bool) (p preflight, err error) {
	g, ctx := panics.WithContext(ctx)
	if find {
		g.Go(func() (err error) {
			p.made, err = findDrive(ctx, c, s)
			return err
		})
	}
	if s.Spec.Source.IsDrive() {
		g.Go(func() error {
			p.origin, p.originErr = o.sourceInfo(ctx, s)
			return nil
		})
	}
	g.Go(func() (err error) {
		p.account, err = readAccount(ctx, c)
		return err
	})
	err = g.Wait()
	return p, err
}

// readAccount reads what the endpoint says about the account within billingTimeout. That it says
// nothing is no error.
func readAccount(ctx context.Context, c *api.Client) (a account, err error) {
	ctx, cancel := context.WithTimeout(ctx, billingTimeout)
	defer cancel()
	g := panics.NewGroup()
	g.Go(func() error { a.usage = known(c.Usage(ctx)); return nil })
	g.Go(func() error { a.balance = known(c.Balance(ctx)); return nil })
	g.Go(func() error { a.subscriptions = known(c.Subscriptions(ctx)); return nil })
	err = g.Wait()
	return a, err
}

// known returns a value, or nil after an error.
func known[T any](value T, err error) *T {
	if err != nil {
		return nil
	}
	return &value
}

// explainNoSpace says what a drive of size bytes needs and what is left, if the endpoint refuses to
// make it because the account may use no more: others have used what was left since the preflight,
// or the endpoint did not say what is left.
func explainNoSpace(ctx context.Context, c *api.Client, endpoint string, size int64, refusal error) error {
	if transfer.CodeOf(refusal) != transfer.CodeNoSpace {
		return refusal
	}
	account, err := readAccount(ctx, c)
	if err != nil {
		return err
	}
	needs := fmt.Errorf("the new drive needs %s: %w", sizeText(size), refusal)
	out, cause := &transfer.Error{Code: transfer.CodeNoSpace, Err: needs}, refusal
	allowed := account.allowance(time.Now())
	if lack := allowed.check(endpoint, size); lack != nil {
		out.Err, cause = fmt.Errorf("%w: %w", lack, refusal), lack
	}
	var e *transfer.Error
	if errors.As(cause, &e) {
		out.Hint = e.Hint
	}
	return out
}
