package api

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/transferd/transferd/internal/transfer"
)

func exactly(s string) decimal.NullDecimal {
	return decimal.NewNullDecimal(decimal.RequireFromString(s))
}

// sameAmount checks an amount; want is empty if the endpoint does not say.
func sameAmount(t *testing.T, what string, got decimal.NullDecimal, want string) {
	t.Helper()
	if got.Valid != (want != "") || got.Valid && !got.Decimal.Equal(exactly(want).Decimal) {
		t.Errorf("%s: got %v %s, want %q", what, got.Valid, got.Decimal, want)
	}
}

// TestUsageTellsZeroFromUnknown: a key may be missing or empty.
func TestUsageTellsZeroFromUnknown(t *testing.T) {
	u, err := serving(t, withCRLF(example(t, "usage.txt"))).Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		got  decimal.NullDecimal
		want string
	}{
		"disk": {u.Disk.Used, "161061273600"}, "disk:burst": {u.Disk.Burst, "53687091200"},
		"disk:sub": {u.Disk.Subscribed, "107374182400"}, "cpu": {u.CPU.Used, "3100"}, "cpu:burst": {u.CPU.Burst, ""},
		"cpu:sub": {u.CPU.Subscribed, ""}, "mem": {u.Mem.Used, "1664"}, "mem:sub": {u.Mem.Subscribed, "0"},
		"rx:total": {u.Received, "0.004"}, "tx:total": {u.Sent, "1.25"}, "xfer:total": {u.Transfer.Used, "1.254"},
		"xfer:burst": {u.Transfer.Burst, "0"}, "xfer:sub": {u.Transfer.Subscribed, ""},
	} {
		sameAmount(t, what, tc.got, tc.want)
	}
	if u.Keys["mem:burst"] != "1664" {
		t.Errorf("got keys %q, want all of the response", u.Keys)
	}
}

func TestPricesAreExact(t *testing.T) {
	p, err := serving(t, example(t, "pricing.txt")).Pricing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sameAmount(t, "cpu:sub", p.CPU.Subscribed, "0.0000195")
	sameAmount(t, "cpu:burst", p.CPU.Burst, "0.000026")
	sameAmount(t, "mem:burst", p.Mem.Burst, "")
	sameAmount(t, "disk:burst", p.Disk.Burst, "0.19")
	sameAmount(t, "xfer:sub", p.Transfer.Subscribed, "0.06")
	sameAmount(t, "ip", p.IP, "5")
	sameAmount(t, "vlan", p.VLAN, "10")
	if len(p.Software) != 2 || !p.Software["msft_p73_04837"].Equal(decimal.RequireFromString("13.5")) {
		t.Errorf("got software %v, want two licenses", p.Software)
	}
	start, end := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	if !p.Start.Equal(start) || !p.End.Equal(end) {
		t.Errorf("got %s to %s, want %s to %s", p.Start, p.End, start, end)
	}
}

func TestTransactionsAreExact(t *testing.T) {
	list, err := serving(t, example(t, "transactions.txt")).Transactions(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("got %d transactions, %v; want 2", len(list), err)
	}
	sameAmount(t, "tax", list[0].Tax, "19")
	sameAmount(t, "total", list[1].Total, "-11.9")
	sameAmount(t, "value", list[1].Value, "-10")
	if at := time.Date(2026, 11, 3, 10, 1, 2, 0, time.UTC); !list[0].Date.Equal(at) {
		t.Errorf("got %s, want %s", list[0].Date, at)
	}
	if got := list[1].Description; got != "cpu:sub 2000" {
		t.Errorf("got description %q, want cpu:sub 2000", got)
	}
}

// TestMoneyIsExactAndBounded: amounts keep each digit; what is no plain number, or would take much
// time to compute with, is refused.
func TestMoneyIsExactAndBounded(t *testing.T) {
	for text, want := range map[string]string{
		"balance 155367.99237092264288897986\ncurrency EUR": "155367.99237092264288897986 EUR",
		"balance 12.5\ncurrency USD":                        "12.50 USD", "balance -3": "-3.00",
		"balance 0E-20": "0.00",
		"balance 1e3":   "1000.00", "currency EUR\r\nbalance 0.10": "0.10 EUR",
	} {
		m, err := serving(t, []byte(text)).Balance(t.Context())
		if m.String() != want || err != nil {
			t.Errorf("%q: got %s, %v; want %s", text, m, err, want)
		}
	}
	for _, value := range []string{
		"", "much", "NaN", "Inf", "1,5", "1e100", "1e-999999999", "0x10", "1_000", strings.Repeat("9", 40), "1 EUR",
	} {
		_, err := serving(t, []byte("balance "+value+"\ncurrency EUR\n")).Balance(t.Context())
		expect(t, err, transfer.CodeProtocol, "balance")
	}
}

func TestSubscriptionsMayHaveNoUUID(t *testing.T) {
	text := example(t, "subscriptions.txt")
	list, err := serving(t, text).Subscriptions(t.Context())
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	objects := Decode(text)
	want := []Subscription{{
		UUID: "5c1ff3ec-d0f0-4afa-85c3-58d8838a62ff", Type: "cpu", TypeName: "CPU",
		Quantity: exactly("2000"), Unit: "MHz",
		Start: start, End: start.AddDate(0, 3, 0), Months: 3, Keys: objects[0],
	}, {
		Type: "ip", TypeName: "Static IP", Resource: "203.0.113.7", Quantity: exactly("1"),
		Start: start, End: start.AddDate(0, 1, 0), Keys: objects[1],
	}}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("got  %+v, %v\nwant %+v", list, err, want)
	}
}

// TestDatesOfSubscriptionsHaveTwoNames: the manual's tables and examples differ (manual 11).
func TestDatesOfSubscriptionsHaveTwoNames(t *testing.T) {
	list, err := serving(t, []byte("type ip\nstart_date 2026-11-01\nend_date soon\n")).Subscriptions(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("got %d subscriptions, %v; want 1", len(list), err)
	}
	if want := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC); !list[0].Start.Equal(want) || !list[0].End.IsZero() {
		t.Errorf("got %s to %s, want %s to zero", list[0].Start, list[0].End, want)
	}
}

func TestProfileHasNoSecret(t *testing.T) {
	p, err := serving(t, example(t, "profile.txt")).Profile(t.Context())
	if err != nil || p.ID() != "4f21c9b7-0b2e-4d6e-8c9b-5b1a8f3f9c01" || p.FirstName != "Ada" || p.Type != "regular" {
		t.Errorf("got %+v, %v; want Ada's profile", p, err)
	}
	if town, ok := p.Keys["town"]; town != "" || !ok {
		t.Errorf("got keys %q, want the empty town in them", p.Keys)
	}
	if _, ok := p.Keys["secret_key"]; ok {
		t.Errorf("got the secret key in %q, want it left out", p.Keys)
	}
}
