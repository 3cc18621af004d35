package api

import (
	"maps"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestAccountCallsWorkWithTheSandbox: the calls for the profile and for billing work with an
// endpoint that keeps accounts.
func TestAccountCallsWorkWithTheSandbox(t *testing.T) {
	c, ctx := inSandbox(t), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	before, err := c.Profile(ctx)
	must(err)
	after, err := c.SetProfile(ctx, Object{"company": "Example Ltd"})
	must(err)
	want := maps.Clone(before.Keys)
	want["company"] = "Example Ltd"
	if !maps.Equal(after.Keys, want) {
		t.Errorf("got the profile %v, want %v", after.Keys, want)
	}
	_, err = c.SetProfile(ctx, Object{"email": "nobody"})
	expect(t, err, transfer.CodeRefused)

	term := Term{Start: time.Now(), Months: 2}
	bought, err := c.SubscribeResources(ResourceAmounts{CPU: 2000, Disk: 10 << 30}, term).Do(ctx)
	must(err) // 36.00 + 2.40
	if len(bought) != 2 || bought[1].Type != "disk" || bought[1].Quantity.Decimal.IntPart() != 10<<30 {
		t.Fatalf("got the subscriptions %+v, want one to cpu and one to disk", bought)
	}
	quote, err := c.QuoteExtension(ctx, bought[1].UUID, 3)
	must(err)
	extended, err := c.ExtendSubscription(bought[1].UUID, 3).Do(ctx)
	must(err)
	if quote.String() != "3.60 EUR" || extended.Months != 5 {
		t.Errorf("got the price %s and %d months, want 3.60 EUR and 5", quote, extended.Months)
	}
	ips, err := c.SubscribeIPs(2, term).Do(ctx)
	must(err) // 12.00
	addresses, err := c.ListIPs(ctx)
	must(err)
	if len(ips) != 2 || len(addresses) != 2 || ips[1].Resource != addresses[1] {
		t.Errorf("got the subscriptions %+v and the addresses %v, want one for each of two", ips, addresses)
	}
	_, err = c.SubscribeSoftware(map[string]int{"msft_lwa_00135": 1}, term).Do(ctx)
	must(err) // 30.00
	balance, err := c.Balance(ctx)
	must(err)
	transactions, err := c.Transactions(ctx)
	must(err)
	usage, err := c.Usage(ctx)
	must(err)
	if balance.String() != "916.00 EUR" || len(transactions) != 5 || usage.CPU.Subscribed.Decimal.IntPart() != 2000 {
		t.Errorf("got the balance %s, %d transactions and the usage %+v; want 916.00 EUR, 5, and 2000 MHz subscribed",
			balance, len(transactions), usage.CPU)
	}
	_, err = c.SubscribeVLANs(99, Term{Start: time.Now(), Months: 36}).Do(ctx)
	expect(t, err, transfer.CodeRefused) // 24948.00
}
