package endpoints

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

// account is what an endpoint says about an account. Each part is nil if it does not: not every
// endpoint has these calls, and billing may be slow or down.
type account struct {
	usage         *api.Usage
	balance       *api.Money
	subscriptions *[]api.Subscription
}

// allowance is how much disk an account may use.
type allowance struct {
	limit  int64      // bytes; unlimited: not known
	used   int64      // of it, bytes; -1: not known
	stated bool       // by the endpoint; otherwise the limit is what the account is subscribed to
	broke  *api.Money // the balance, if the account has no money; nil: it has, or that is not known
}

const unlimited = math.MaxInt64

// allowance derives what the account may use from what its endpoint says. An endpoint may state a
// limit. If it does not, an account with money may use more than it is subscribed to (burst), and
// its limit is not known. One without money may use what it is subscribed to, unless it uses more,
// or has subscribed to nothing: then it is perhaps billed afterwards.
func (a *account) allowance(now time.Time) allowance {
	var disk api.Amounts
	if a.usage != nil {
		disk = a.usage.Disk
	}
	used, ok := api.Whole(disk.Used)
	if !ok {
		used = -1
	}
	var broke *api.Money
	if a.balance != nil && !a.balance.Amount.IsPositive() {
		broke = a.balance
	}
	if limit, ok := api.Whole(disk.Limit); ok {
		return allowance{limit, used, true, broke}
	}
	if broke == nil {
		return allowance{limit: unlimited}
	}
	limit, ok := api.Whole(disk.Subscribed)
	if !ok {
		limit, ok = a.subscribedDisk(now)
	}
	if !ok || limit < allocationUnit || used > limit { // a smaller limit is not in bytes
		return allowance{limit: unlimited}
	}
	return allowance{limit, used, false, broke}
}

// allocationUnit is what the live service allocates disk in, bytes. The manual does not say the
// unit of the amounts in usage/info; an amount below this is not in bytes.
const allocationUnit = 4 << 20

// diskUnits are the units of subscriptions to disk, in bytes. Whether GB is 10^9 or 2^30 bytes is
// not documented. With the larger one, nothing is refused that fits.
var diskUnits = map[string]int64{
	"byte": 1, "bytes": 1, "b": 1, "kb": 1 << 10, "kib": 1 << 10, "mb": 1 << 20, "mib": 1 << 20,
	"gb": 1 << 30, "gib": 1 << 30, "tb": 1 << 40, "tib": 1 << 40,
}

// subscribedDisk is the sum of the current subscriptions to disk, in bytes; ok is false if it is
// not known.
func (a *account) subscribedDisk(now time.Time) (sum int64, ok bool) {
	if a.subscriptions == nil {
		return 0, false
	}
	for _, s := range *a.subscriptions {
		began, ended := !s.Start.After(now), !s.End.IsZero() && !s.End.After(now)
		if !strings.Contains(strings.ToLower(s.Type), "disk") || !began || ended {
			continue
		}
		n, whole := api.Whole(s.Quantity)
		unit := diskUnits[strings.ToLower(s.Unit)]
		if !whole || unit == 0 || n > (unlimited-sum)/unit {
			return 0, false
		}
		sum += n * unit
	}
	return sum, true
}

// left is how much more disk the account may use, in bytes; unlimited: not known.
func (a *allowance) left() int64 {
	if a.limit == unlimited {
		return unlimited
	}
	return max(0, a.limit-max(0, a.used))
}

// check refuses a new drive of size bytes that is larger than what is left: CodeNoSpace.
func (a *allowance) check(endpoint string, size int64) error {
	return a.checkSum(endpoint, "the new drive needs", size)
}

// checkSum is check for drives that have size bytes together. what is the beginning of the error.
func (a *allowance) checkSum(endpoint, what string, size int64) error {
	left := a.left()
	if size <= left {
		return nil
	}
	why, hint := "is subscribed to", "subscribe to more disk"
	if a.stated {
		why = "may use"
	}
	why += " " + sizeText(a.limit)
	if a.broke != nil {
		why, hint = why+", its balance is "+a.broke.String(), "add money to the account"
	}
	if a.used >= 0 {
		why += ", and it uses " + sizeText(a.used)
	}
	hint = "destroy drives that are not needed (transferctl drives list " + endpoint + ": lists them), or " + hint
	return transfer.Errorf(transfer.CodeNoSpace, hint,
		"%s %s, and on %s the account has %s left: it %s",
		what, sizeText(size), endpoint, sizeText(left), why)
}

// sizeText writes a number of bytes, with a suffix if that is exact.
func sizeText(n int64) string {
	short := transfer.FormatSize(n)
	if n < 1<<10 || short[len(short)-1] <= '9' {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d bytes (%siB)", n, short)
}
