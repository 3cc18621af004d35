package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/transferd/transferd/internal/transfer"
)

// Money is an exact amount.
type Money struct {
	Amount   decimal.Decimal
	Currency string // such as EUR; empty: the response does not say
	Keys     Object // the complete response
}

// String returns the exact amount, with two decimal places or more, and the currency: `12.50 EUR`.
func (m Money) String() string {
	amount := m.Amount.String()
	if m.Amount.Equal(m.Amount.Round(2)) {
		amount = m.Amount.StringFixed(2)
	}
	return strings.TrimSpace(amount + " " + m.Currency)
}

// newMoney reads the required amount of key.
func newMoney(o Object, key string) (Money, error) {
	f := fields{Object: o}
	amount := f.amount(key)
	if !amount.Valid && f.err == nil {
		f.fail(key, "an amount")
	}
	return Money{amount.Decimal, o["currency"], o}, f.err
}

func newBalance(o Object) (Money, error) { return newMoney(o, "balance") }
func newQuote(o Object) (Money, error)   { return newMoney(o, "amount") }

// Amounts of one resource: what is used, what of that is paid as it is used (burst), what the
// account has subscribed to, and the most that it may use (not in the manual). What the endpoint
// does not say is not Valid. The units are those of the endpoint.
type Amounts struct{ Used, Burst, Subscribed, Limit decimal.NullDecimal }

func newAmounts(f *fields, used, resource string) Amounts {
	return Amounts{
		f.amount(used), f.amount(resource + ":burst"), f.amount(resource + ":sub"), f.amount(resource + ":limit"),
	}
}

// Usage is what an account uses.
type Usage struct {
	CPU      Amounts
	Mem      Amounts
	Disk     Amounts
	Transfer Amounts             // both directions
	Received decimal.NullDecimal // part of Transfer.Used
	Sent     decimal.NullDecimal // the other part
	Keys     Object              // the complete response
}

func newUsage(o Object) (Usage, error) {
	f := fields{Object: o}
	u := Usage{
		CPU: newAmounts(&f, "cpu", "cpu"), Mem: newAmounts(&f, "mem", "mem"), Disk: newAmounts(&f, "disk", "disk"),
		Transfer: newAmounts(&f, "xfer:total", "xfer"),
		Received: f.amount("rx:total"), Sent: f.amount("tx:total"), Keys: o,
	}
	return u, f.err
}

// Price is the price of one resource; not Valid: the endpoint does not say.
type Price struct{ Burst, Subscribed decimal.NullDecimal }

// Pricing is the price list, for a time. Prices are in the currency of the account.
type Pricing struct {
	Start, End               time.Time // zero: the response has none
	CPU, Mem, Disk, Transfer Price
	IP, VLAN                 decimal.NullDecimal
	Software                 map[string]decimal.Decimal // by key, such as msft_p73_04837
	Keys                     Object                     // the complete response
}

// softwarePrefix begins the keys of software.
const softwarePrefix = "msft_"

func newPricing(o Object) (Pricing, error) {
	f := fields{Object: o}
	price := func(resource string) Price { return Price{f.amount(resource + ":burst"), f.amount(resource + ":sub")} }
	p := Pricing{
		Start: f.time("start"), End: f.time("end"),
		CPU: price("cpu"), Mem: price("mem"), Disk: price("disk"), Transfer: price("xfer"),
		IP: f.amount("ip"), VLAN: f.amount("vlan"), Software: make(map[string]decimal.Decimal), Keys: o,
	}
	for key := range o {
		if strings.HasPrefix(key, softwarePrefix) {
			if amount := f.amount(key); amount.Valid {
				p.Software[key] = amount.Decimal
			}
		}
	}
	return p, f.err
}

// Transaction is a change of the balance. Amounts are in the currency of the account.
type Transaction struct {
	Date        time.Time // zero: the response has none, or one of another form
	Description string
	Value       decimal.NullDecimal
	Tax         decimal.NullDecimal
	Total       decimal.NullDecimal
	Keys        Object // the complete response
}

func newTransaction(o Object) (Transaction, error) {
	f := fields{Object: o}
	return Transaction{
		Date: f.time("date"), Description: o["description"],
		Value: f.amount("value"), Tax: f.amount("tax"), Total: f.amount("total"), Keys: o,
	}, f.err
}

// Subscription is a resource that is paid in advance.
type Subscription struct {
	UUID     string              // empty: the response has none
	Type     string              // such as cpu, ip or vlan
	TypeName string              // Type for people
	Resource string              // the address or the VLAN; may be empty
	Quantity decimal.NullDecimal // in units
	Unit     string
	Start    time.Time // zero: the response has none
	End      time.Time // likewise
	Months   int64     // 0: the response does not say
	Keys     Object    // the complete response
}

func newSubscription(o Object) (Subscription, error) {
	f := fields{Object: o}
	return Subscription{
		UUID: strings.ToLower(o["subscription"]), Type: o["type"], TypeName: o["type_str"], Resource: o["resource"],
		Quantity: f.amount("quantity"), Unit: o["unit"],
		Start: f.time("start_time", "start_date"), End: f.time("end_time", "end_date"),
		Months: f.integer("months"), Keys: o,
	}, f.err
}

// Term is when a subscription starts, and for how long.
type Term struct {
	Start  time.Time
	Months int // at least 1
}

// startForm is the form of times in calls.
const startForm = time.DateTime

// with adds the term to keys.
func (t Term) with(keys Object) Object {
	keys["start_time"], keys["months"] = t.Start.UTC().Format(startForm), strconv.Itoa(t.Months)
	return keys
}

// ResourceAmounts are resources to subscribe to, in the units of the endpoint. Those that are 0 are
// left out.
type ResourceAmounts struct{ CPU, Mem, Disk, Transfer int64 }

func (a ResourceAmounts) object() Object {
	keys := make(Object)
	for key, n := range map[string]int64{"cpu": a.CPU, "mem": a.Mem, "disk": a.Disk, "xfer": a.Transfer} {
		if n != 0 {
			keys[key] = strconv.FormatInt(n, 10)
		}
	}
	return keys
}

// Currencies is the codes of the currencies that the endpoint bills in: GET /currencies/list
// (manual 11).
func (c *Client) Currencies(ctx context.Context) ([]string, error) {
	return c.ids(ctx, accountKind.read("list currencies", "currencies/list"), firstWords)
}

// Usage describes what the account uses now: GET /usage/info (manual 11).
func (c *Client) Usage(ctx context.Context) (Usage, error) {
	return one(ctx, c, accountKind.read("read the usage", "usage/info"), newUsage)
}

// Pricing is the endpoint's price list: GET /pricing/info (manual 11).
func (c *Client) Pricing(ctx context.Context) (Pricing, error) {
	return one(ctx, c, accountKind.read("read the prices", "pricing/info"), newPricing)
}

// Transactions is the changes of the account's balance: GET /transactions/list (manual 11).
func (c *Client) Transactions(ctx context.Context) ([]Transaction, error) {
	return many(ctx, c, accountKind.read("list transactions", "transactions/list"), newTransaction)
}

// Balance is the account's money: GET /balance/info (manual 11.5).
func (c *Client) Balance(ctx context.Context) (Money, error) {
	return one(ctx, c, accountKind.read("read the balance", "balance/info"), newBalance)
}

// Subscriptions describes the account's subscriptions: GET /subscriptions/list (manual 11.8).
func (c *Client) Subscriptions(ctx context.Context) ([]Subscription, error) {
	return many(ctx, c, subscriptionKind.list(), newSubscription)
}

// SubscribedResources is the sums of the account's subscriptions to resources, by key: GET
// /subscriptions/resources/info (manual 11; it does not define the keys).
func (c *Client) SubscribedResources(ctx context.Context) (Object, error) {
	return c.totals(ctx, "resources")
}

// SubscribedNetwork is the sums of the account's subscriptions to addresses and VLANs, by key: GET
// /subscriptions/net/info (manual 11; it does not define the keys).
func (c *Client) SubscribedNetwork(ctx context.Context) (Object, error) {
	return c.totals(ctx, "net")
}

func (c *Client) totals(ctx context.Context, what string) (Object, error) {
	cmd := subscriptionKind.read("read the subscribed "+what, "subscriptions/"+what+"/info")
	objects, err := many(ctx, c, cmd, func(o Object) (Object, error) { return o, nil })
	totals := make(Object)
	for _, o := range objects { // of an account without subscriptions there may be none
		maps.Copy(totals, o)
	}
	return totals, err
}

// SubscribeResources buys resources: POST /subscriptions/resources/create (manual 11.10). It makes
// a subscription for each resource.
func (c *Client) SubscribeResources(a ResourceAmounts, t Term) *Creation[[]Subscription] {
	keys := a.object()
	return c.subscribe("resources", len(keys), t.with(keys))
}

// SubscribeIPs buys static addresses: POST /subscriptions/network/ip/create (manual 11).
func (c *Client) SubscribeIPs(quantity int, t Term) *Creation[[]Subscription] {
	return c.subscribe("network/ip", quantity, t.with(quantityKey(quantity)))
}

// SubscribeVLANs buys VLANs: POST /subscriptions/network/vlan/create (manual 11).
func (c *Client) SubscribeVLANs(quantity int, t Term) *Creation[[]Subscription] {
	return c.subscribe("network/vlan", quantity, t.with(quantityKey(quantity)))
}

// SubscribeSoftware buys licenses, by key such as msft_p73_04837: POST
// /subscriptions/software/create (manual 11.16).
func (c *Client) SubscribeSoftware(licenses map[string]int, t Term) *Creation[[]Subscription] {
	return c.subscribe("software", len(licenses), t.with(licenseKeys(licenses)))
}

// QuoteIPs is the price of SubscribeIPs: POST /subscriptions/network/ip/calculate (manual 11).
func (c *Client) QuoteIPs(ctx context.Context, quantity int, t Term) (Money, error) {
	return c.quote(ctx, "network/ip", t.with(quantityKey(quantity)))
}

// QuoteVLANs is the price of SubscribeVLANs: POST /subscriptions/network/vlan/calculate (manual
// 11).
func (c *Client) QuoteVLANs(ctx context.Context, quantity int, t Term) (Money, error) {
	return c.quote(ctx, "network/vlan", t.with(quantityKey(quantity)))
}

// QuoteSoftware is the price of SubscribeSoftware: POST /subscriptions/software/calculate (manual
// 11.16).
func (c *Client) QuoteSoftware(ctx context.Context, licenses map[string]int, t Term) (Money, error) {
	return c.quote(ctx, "software", t.with(licenseKeys(licenses)))
}

func quantityKey(n int) Object { return Object{"quantity": strconv.Itoa(n)} }

func licenseKeys(licenses map[string]int) Object {
	keys := make(Object, len(licenses))
	for key, n := range licenses {
		keys[key] = strconv.Itoa(n)
	}
	return keys
}

func (c *Client) quote(ctx context.Context, what string, keys Object) (Money, error) {
	cmd := subscriptionKind.post("calculate the price of "+what, "subscriptions/"+what+"/calculate", keys)
	return one(ctx, c, cmd, newQuote)
}

// subscribe makes at most n subscriptions with one call. An endpoint may respond with one object
// for all of them (manual 11.9). After a lost response its Creation finds the subscriptions that
// are new to the account.
func (c *Client) subscribe(what string, n int, keys Object) *Creation[[]Subscription] {
	cmd := subscriptionKind.post("subscribe to "+what, "subscriptions/"+what+"/create", keys)
	listed := subscriptionList{client: c, identity: subscriptionID}
	return &Creation[[]Subscription]{
		op: cmd.op, hint: paidHint, list: listed.list,
		match: func(_ context.Context, fresh []string) ([][]Subscription, error) {
			if len(fresh) > n {
				return nil, transfer.Errorf(transfer.CodeFailed, "",
					"%s: there are %d new subscriptions, and the call makes at most %d", cmd.op, len(fresh), n)
			}
			return [][]Subscription{listed.get(fresh)}, nil
		},
		send: func(ctx context.Context) ([]Subscription, error) {
			bought, err := many(ctx, c, cmd, newSubscription)
			if err == nil && len(bought) == 0 {
				err = transfer.Errorf(transfer.CodeProtocol, hintNotAPI, "%s: the response is empty", cmd.op)
			}
			return bought, err
		},
	}
}

// ExtendSubscription makes a subscription longer: POST /subscriptions/UUID/set (manual 11). After a
// lost response its Creation finds that the subscription ends later, or has more months. Endpoints
// may list subscriptions without their UUIDs: then any that has become longer may be the one.
func (c *Client) ExtendSubscription(uuid string, months int) *Creation[Subscription] {
	cmd := subscriptionKind.on("extend", uuid, "set", monthsKey(months))
	listed := subscriptionList{client: c, identity: func(s *Subscription) string {
		return s.UUID + " " + cmp.Or(s.Keys["end_time"], s.Keys["end_date"], s.Keys["months"])
	}}
	return &Creation[Subscription]{
		op: cmd.op, hint: paidHint, list: listed.list,
		match: func(_ context.Context, fresh []string) ([]Subscription, error) {
			another := func(s Subscription) bool { return s.UUID != "" && s.UUID != uuid }
			return slices.DeleteFunc(listed.get(fresh), another), nil
		},
		send: func(ctx context.Context) (Subscription, error) { return one(ctx, c, cmd, newSubscription) },
	}
}

// QuoteExtension is the price of ExtendSubscription: POST /subscriptions/UUID/set/calculate (manual
// 11).
func (c *Client) QuoteExtension(ctx context.Context, uuid string, months int) (Money, error) {
	cmd := subscriptionKind.on("calculate the price of extending", uuid, "set/calculate", monthsKey(months))
	return one(ctx, c, cmd, newQuote)
}

func monthsKey(n int) Object { return Object{"months": strconv.Itoa(n)} }

// paidHint is the hint of a purchase that may have been carried out.
var paidHint = "it may be paid for all the same: " + subscriptionKind.missing

// subscriptionList is the account's subscriptions as they were listed last.
type subscriptionList struct {
	client   *Client
	identity func(*Subscription) string
	byID     map[string]Subscription
}

// list reads the subscriptions, and returns the identity of each.
func (l *subscriptionList) list(ctx context.Context) ([]string, error) {
	all, err := l.client.Subscriptions(ctx)
	ids := make([]string, len(all))
	l.byID = make(map[string]Subscription, len(all))
	for i := range all {
		ids[i] = l.identity(&all[i])
		l.byID[ids[i]] = all[i]
	}
	return ids, err
}

func (l *subscriptionList) get(ids []string) []Subscription {
	found := make([]Subscription, len(ids))
	for i, id := range ids {
		found[i] = l.byID[id]
	}
	return found
}

// subscriptionID identifies a subscription, also if it has no UUID.
func subscriptionID(s *Subscription) string {
	if s.UUID != "" {
		return s.UUID
	}
	var b strings.Builder
	for _, key := range []string{"type", "resource", "quantity", "unit", "start_time", "end_time"} {
		fmt.Fprintf(&b, "%q ", s.Keys[key])
	}
	return b.String()
}
