package endpoints

import (
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

// amount is a number as an endpoint says it; "": it does not.
func amount(text string) decimal.NullDecimal {
	if text == "" {
		return decimal.NullDecimal{}
	}
	return decimal.NewNullDecimal(decimal.RequireFromString(text))
}

func money(text string) *api.Money {
	return &api.Money{Amount: decimal.RequireFromString(text), Currency: "EUR"}
}

// disk is a usage of disk, as usage/info has it.
func disk(used, subscribed, limit string) *api.Usage {
	return &api.Usage{Disk: api.Amounts{Used: amount(used), Subscribed: amount(subscribed), Limit: amount(limit)}}
}

// subscribed is a subscription to disk, current at noon.
func subscribed(quantity, unit string, start, end time.Time) api.Subscription {
	return api.Subscription{Type: "disk", Quantity: amount(quantity), Unit: unit, Start: start, End: end}
}

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// TestAllowanceFollowsFromWhatTheEndpointSays: left is -1 if everything fits, because nothing that
// the endpoint says limits the account.
func TestAllowanceFollowsFromWhatTheEndpointSays(t *testing.T) {
	var (
		hour  = time.Hour
		gib   = subscribed("1073741824", "bytes", noon.Add(-hour), noon.Add(hour))
		twoGB = subscribed("2", "GB", time.Time{}, time.Time{})
		ended = subscribed("1073741824", "bytes", noon.Add(-hour), noon)
		later = subscribed("1073741824", "bytes", noon.Add(hour), noon.Add(2*hour))
		odd   = subscribed("7", "volumes", time.Time{}, time.Time{})
		cpu   = api.Subscription{Type: "cpu", Quantity: amount("2000"), Unit: "core MHz"}
		most  = subscribed("9223372036854775807", "bytes", time.Time{}, time.Time{})
	)
	for name, tc := range map[string]struct {
		account account
		left    int64
	}{
		"nothing":               {account{}, -1},
		"a limit":               {account{usage: disk("6291456", "0", "10485760")}, 4 << 20},
		"a limit, used up":      {account{usage: disk("10485760", "0", "10485760")}, 0},
		"more used than limit":  {account{usage: disk("20485760", "0", "10485760")}, 0},
		"a limit of nothing":    {account{usage: disk("0", "0", "0")}, 0},
		"a limit, use unknown":  {account{usage: disk("", "", "10485760")}, 10 << 20},
		"a limit and no money":  {account{usage: disk("0", "0", "10485760"), balance: money("0")}, 10 << 20},
		"a limit and money":     {account{usage: disk("0", "0", "10485760"), balance: money("99.5")}, 10 << 20},
		"a limit below zero":    {account{usage: disk("0", "0", "-1")}, -1},
		"a limit beyond int64":  {account{usage: disk("0", "0", "1E+30")}, -1},
		"a limit with zeros":    {account{usage: disk("0E-20", "0", "1.048576E+7")}, 10 << 20},
		"money":                 {account{usage: disk("0", "0", ""), balance: money("0.01")}, -1},
		"no money":              {account{usage: disk("6442450944", "10737418240", ""), balance: money("0")}, 4 << 30},
		"debts":                 {account{usage: disk("6442450944", "10737418240", ""), balance: money("-5")}, 4 << 30},
		"no money, all used":    {account{usage: disk("10737418240", "10737418240", ""), balance: money("0")}, 0},
		"no money, none bought": {account{usage: disk("0", "0", ""), balance: money("0")}, -1},
		"no money, and burst":   {account{usage: disk("10737418241", "10737418240", ""), balance: money("0")}, -1},
		"amounts in GB":         {account{usage: disk("6", "10", ""), balance: money("0")}, -1},
		"no amounts":            {account{usage: disk("", "", ""), balance: money("0")}, -1},
		"no usage": {account{balance: money("0"),
			subscriptions: &[]api.Subscription{gib, twoGB, ended, later, cpu}}, 3 << 30},
		"no subscriptions": {account{balance: money("0"), subscriptions: &[]api.Subscription{cpu, ended}}, -1},
		"usage without subscriptions": {account{balance: money("0"), usage: disk("536870912", "", ""),
			subscriptions: &[]api.Subscription{gib}}, 512 << 20},
		"no money, and burst without usage:sub": {account{balance: money("0"), usage: disk("2147483648", "", ""),
			subscriptions: &[]api.Subscription{gib}}, -1},
		"unknown unit":  {account{balance: money("0"), subscriptions: &[]api.Subscription{gib, odd}}, -1},
		"sum too large": {account{balance: money("0"), subscriptions: &[]api.Subscription{gib, most}}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			a := tc.account.allowance(noon)
			if tc.left < 0 {
				if err := a.check("zrh", 1<<62); err != nil {
					t.Errorf("got %v, want no refusal of any size", err)
				}
				return
			}
			if err := a.check("zrh", tc.left); err != nil {
				t.Errorf("%d bytes: got %v, want no refusal", tc.left, err)
			}
			err := a.check("zrh", tc.left+1)
			if transfer.CodeOf(err) != transfer.CodeNoSpace {
				t.Errorf("%d bytes: got %v, want %s", tc.left+1, err, transfer.CodeNoSpace)
			}
		})
	}
}

// TestRefusalSaysWhatIsNeededAndLeft: in one sentence, with a hint.
func TestRefusalSaysWhatIsNeededAndLeft(t *testing.T) {
	small := subscribed("4", "MB", time.Time{}, time.Time{})
	for _, tc := range []struct {
		account account
		text    string
		hint    string
	}{
		{
			account{usage: disk("6291456", "0", "10485760")},
			"the new drive needs 5242880 bytes (5MiB), and on zrh the account has 4194304 bytes (4MiB) left: " +
				"it may use 10485760 bytes (10MiB), and it uses 6291456 bytes (6MiB)",
			"subscribe to more disk",
		},
		{
			account{usage: disk("0", "0", "0"), balance: money("0")},
			"the new drive needs 5242880 bytes (5MiB), and on zrh the account has 0 bytes left: " +
				"it may use 0 bytes, its balance is 0.00 EUR, and it uses 0 bytes",
			"add money",
		},
		{
			account{usage: disk("6291456", "10485761", ""), balance: money("0")},
			"the new drive needs 5242880 bytes (5MiB), and on zrh the account has 4194305 bytes left: " +
				"it is subscribed to 10485761 bytes, its balance is 0.00 EUR, and it uses 6291456 bytes (6MiB)",
			"add money",
		},
		{
			account{subscriptions: &[]api.Subscription{small}, balance: money("-1.005")},
			"the new drive needs 5242880 bytes (5MiB), and on zrh the account has 4194304 bytes (4MiB) left: " +
				"it is subscribed to 4194304 bytes (4MiB), its balance is -1.005 EUR",
			"add money",
		},
	} {
		a := tc.account.allowance(noon)
		f := transfer.FailureOf(a.check("zrh", 5<<20))
		if f == nil || f.Message != tc.text || !strings.Contains(f.Hint, tc.hint) {
			t.Errorf("got %+v, want %q and the hint to %s", f, tc.text, tc.hint)
		}
	}
}
