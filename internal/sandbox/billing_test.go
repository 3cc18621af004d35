package sandbox

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// testTime is what the clock of billing says in tests.
var testTime = time.Date(2026, time.November, 27, 14, 5, 6, 7, time.UTC)

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// at sets the clock of billing, and the account's money.
func at(c *clock, balance string) func(*Config) {
	return func(cfg *Config) { cfg.now, cfg.Balance = c.read, balance }
}

const term = "\nstart_time 2026-11-01 00:00:00\nmonths 1\n"

// subscribe buys a month from 1 November 2026 on, and returns the UUID of the last subscription.
func (r *rig) subscribe(quantities string) string {
	r.Helper()
	objects := r.objects("POST", "/subscriptions/resources/create", quantities+term)
	return value(objects[len(objects)-1], "subscription")
}

// objects sends a request and splits the response at its blank lines.
func (r *rig) objects(method, path, body string) (objects []object) {
	r.Helper()
	text := string(r.want(200, method, path, []byte(body)).body)
	if text == "" {
		return nil
	}
	if strings.Contains(text, "\n\n\n") || !strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\n\n") {
		r.Errorf("%s: got %q, want one blank line between objects", path, text)
	}
	for part := range strings.SplitSeq(text, "\n\n") {
		objects = append(objects, decode([]byte(part)))
	}
	return objects
}

func (r *rig) balance() string {
	r.Helper()
	return value(decode(r.get("/balance/info").body), "balance")
}

// keys checks the values of some keys.
func (r *rig) keys(what string, o object, want ...string) {
	r.Helper()
	for p := range slices.Chunk(want, 2) {
		if got, ok := o.get(p[0]); !ok || got != p[1] {
			r.Errorf("%s: got %s %q in %v, want %q", what, p[0], got, o, p[1])
		}
	}
}

// anyValues replaces the values that differ from run to run.
func anyValues(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		key, value, _ := strings.Cut(line, " ")
		if _, isUUID := parseUUID(value); isUUID {
			lines[i] = key + " UUID"
		}
	}
	return strings.Join(lines, "\n")
}

// TestEachBillingCommandResponds has a row for each command of billing with its whole response, in
// an order in which each depends on those before it.
func TestEachBillingCommandResponds(t *testing.T) {
	r := newRig(t, at(&clock{now: testTime}, "500"))
	id := ""
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/currencies/list", "", "EUR\n"},
		{"GET", "/balance/info", "", "balance 500.00\ncurrency EUR\n"},
		{"GET", "/transactions/list", "", "date 2026-11-27 14:05:06\ndescription Balance set to 500.00 EUR\n" +
			"value 500.00\ntax 0.00\ntotal 500.00\n"},
		{"GET", "/subscriptions/list", "", ""},
		{"GET", "/pricing/info", "", "start 2000-01-01 00:00:00\nend 2099-12-31 23:59:59\n" +
			"cpu:sub 9.00\ncpu:burst 14.40\nmem:sub 13.50\nmem:burst 21.60\ndisk:sub 0.12\ndisk:burst 0.18\n" +
			"xfer:sub 0.05\nxfer:burst 0.08\nip 3.00\nvlan 7.00\n" +
			"msft_lwa_00135 15.00\nmsft_p73_04837 25.00\nmsft_p72_04169 60.00\nmsft_6wc_00002 5.00\n" +
			"msft_tfa_00009 18.00\nmsft_228_03159 200.00\n"},
		{"GET", "/usage/info", "", "cpu 0\ncpu:burst 0\ncpu:sub 0\nmem 0\nmem:burst 0\nmem:sub 0\n" +
			"disk 0\ndisk:burst 0\ndisk:sub 0\nrx:total 0\ntx:total 0\nxfer:total 0\nxfer:burst 0\nxfer:sub 0\n"},
		{
			"POST", "/subscriptions/resources/create",
			"cpu 2500\r\nmem 2G\ndisk \nxfer 0\nstart_time 2026-11-01 00:00:00\nmonths 2",
			"subscription UUID\ntype cpu\ntype_str CPU\nunit core MHz\nquantity 2500\n" +
				"start_time 2026-11-01 00:00:00\nend_time 2027-01-01 00:00:00\nmonths 2\n\n" +
				"subscription UUID\ntype mem\ntype_str RAM\nunit MB\nquantity 2048\n" +
				"start_time 2026-11-01 00:00:00\nend_time 2027-01-01 00:00:00\nmonths 2\n",
		}, // 2 × 22.50 + 2 × 27.00 = 99.00
		{"GET", "/balance/info", "", "balance 401.00\ncurrency EUR\n"},
		{"GET", "/subscriptions/resources/info", "", "cpu 2500\nmem 2048\ndisk 0\nxfer 0\n"},
		{
			"POST", "/subscriptions/network/ip/calculate", "quantity 3\nstart_date 2026-11-27\nmonths 2",
			"amount 18.00\ncurrency EUR\n",
		},
		{
			"POST", "/subscriptions/network/vlan/calculate", "quantity 1\nstart_time 2026-11-27 14:05\nmonths 36",
			"amount 252.00\ncurrency EUR\n",
		},
		{
			"POST", "/subscriptions/software/calculate", "msft_lwa_00135 2\nmsft_6wc_00002 1" + term,
			"amount 35.00\ncurrency EUR\n",
		},
		{"GET", "/balance/info", "", "balance 401.00\ncurrency EUR\n"},
		{
			"POST", "/subscriptions/software/create", "msft_lwa_00135 2\nmsft_6wc_00002 1\nmsft_unknown 1" + term,
			"msft_lwa_00135 2\nmsft_6wc_00002 1\n" +
				"start_time 2026-11-01 00:00:00\nend_time 2026-12-01 00:00:00\nmonths 1\n",
		},
		{"POST", "/subscriptions/ID/set/calculate", "months 10", "amount 270.00\ncurrency EUR\n"},
		{
			"POST", "/subscriptions/ID/set", "months 10",
			"subscription UUID\ntype mem\ntype_str RAM\nunit MB\nquantity 2048\n" +
				"start_time 2026-11-01 00:00:00\nend_time 2027-11-01 00:00:00\nmonths 12\n",
		},
		{"GET", "/balance/info", "", "balance 96.00\ncurrency EUR\n"},
	} {
		a := r.want(200, c.method, strings.Replace(c.path, "ID", id, 1), []byte(c.body))
		if got := anyValues(string(a.body)); got != c.want {
			t.Errorf("%s %s: got\n%s\nwant\n%s", c.method, c.path, got, c.want)
		}
		if strings.HasSuffix(c.path, "resources/create") {
			id = value(decode([]byte(strings.Split(string(a.body), "\n\n")[1])), "subscription")
		}
	}
	r.checkSum()
}

// checkSum checks that the balance is the sum of all transactions.
func (r *rig) checkSum() {
	r.Helper()
	var sum money
	for _, o := range r.objects("GET", "/transactions/list", "") {
		total, err := parseMoney(value(o, "total"))
		if err != nil || value(o, "value") != value(o, "total") || value(o, "tax") != "0.00" {
			r.Errorf("got the transaction %v, %v; want an amount without tax", o, err)
		}
		sum += total
	}
	if got := r.balance(); got != sum.String() {
		r.Errorf("got the balance %s, want the sum of the transactions, %s", got, sum)
	}
}

// TestSubscribedResourcesExist: a subscription to an address or a VLAN makes it.
func TestSubscribedResourcesExist(t *testing.T) {
	cfg := testConfig(t)
	at(&clock{now: testTime}, "20")(&cfg)
	r := serveRig(t, cfg)
	for _, c := range []struct{ kind, list, want, total string }{
		{"ip", "/resources/ip/list", "type ip\ntype_str static IP\nunit address\nquantity 1\n", "ip 2\nvlan 0\n"},
		{"vlan", "/resources/vlan/list", "type vlan\ntype_str VLAN\nunit network\nquantity 1\n", "ip 2\nvlan 2\n"},
	} {
		quantity := "quantity 2" + term
		subs := r.objects("POST", "/subscriptions/network/"+c.kind+"/create", quantity)
		if len(subs) != 2 {
			t.Fatalf("got the subscriptions %v, want 2", subs)
		}
		lines := ""
		for _, o := range subs {
			resource := value(o, "resource")
			lines += c.kind + " " + resource + "\n"
			o.remove("subscription")
			want := c.want + "resource " + resource + "\nstart_time 2026-11-01 00:00:00\n" +
				"end_time 2026-12-01 00:00:00\nmonths 1\n"
			equal(t, encode(o), []byte(want))
		}
		equal(t, r.get(c.list).body, []byte(lines))
		equal(t, r.get("/subscriptions/net/info").body, []byte(c.total))
		a := r.want(400, "POST", "/subscriptions/network/vlan/create", []byte("quantity 3"+term))
		contains(t, a.body, "errors:balance")
		equal(t, r.get(c.list).body, []byte(lines))
	}
	if got := r.balance(); got != "0.00" {
		t.Errorf("got the balance %s, want 0.00", got)
	}
	before := r.get("/subscriptions/list").body
	r.stop()
	r = serveRig(t, cfg)
	equal(t, r.get("/subscriptions/list").body, before)
}

// TestFailedPurchaseLeavesNothing: there are fewer addresses than were ordered.
func TestFailedPurchaseLeavesNothing(t *testing.T) {
	r := newRig(t, at(&clock{now: testTime}, "1000"))
	for range 2 {
		r.want(200, "POST", "/subscriptions/network/ip/create", []byte("quantity 100"+term))
	}
	r.want(400, "POST", "/subscriptions/network/ip/create", []byte("quantity 100"+term))
	if got := len(r.objects("GET", "/subscriptions/list", "")); got != 200 || r.balance() != "400.00" {
		t.Errorf("got %d subscriptions and the balance %s, want 200 and 400.00", got, r.balance())
	}
	if got := strings.Count(string(r.get("/resources/ip/list").body), "\n"); got != 200 {
		t.Errorf("got %d addresses, want 200", got)
	}
	r.checkSum()
}

func TestPricesAreExact(t *testing.T) {
	for _, c := range []struct {
		p        *product
		quantity int64
		months   int
		want     string
	}{
		{productCPU, 2000, 1, "18.00"},
		{productCPU, 2001, 1, "18.01"}, // 18.009
		{productCPU, 10_000_000, 36, "3240000.00"},
		{productMem, 257, 1, "3.39"}, // 3.38818...
		{productMem, 256, 1, "3.38"}, // 3.375: half a cent up
		{productDisk, 1 << 30, 1, "0.12"},
		{productDisk, 10 << 30, 3, "3.60"},
		{productDisk, tooLarge, 36, "4529848.32"},
		{productDisk, tooLarge - 1, 36, "4529848.32"},
		{productTransfer, 3 << 29, 1, "0.08"}, // 0.075
		{softwareProducts[5], 100, 36, "720000.00"},
	} {
		if got := c.p.price(c.quantity, c.months).String(); got != c.want {
			t.Errorf("%d %s of %s for %d months: got %s, want %s",
				c.quantity, c.p.unit, c.p.name, c.months, got, c.want)
		}
	}
}

// TestBadOrdersChangeNothing: each bad key has its errors: line after the input, and nothing is
// bought.
func TestBadOrdersChangeNothing(t *testing.T) {
	r := newRig(t, at(&clock{now: testTime}, "500"))
	id := r.subscribe("cpu 2000")
	const good = "cpu 2000\nmem 2048\nquantity 1\nmsft_lwa_00135 1\nmonths 1\nstart_time 2026-11-27 00:00:00\n"
	all := []string{
		"resources/create", "network/ip/create", "network/ip/calculate", "network/vlan/create",
		"network/vlan/calculate", "software/create", "software/calculate",
	}
	for _, c := range []struct {
		paths []string
		input string // replaces keys of good
		want  []string
	}{
		{all, "start_time ", []string{"start_time \n", "errors:start_time This field is required.\n"}},
		{all, "start_time 27.11.2026", []string{"start_time 27.11.2026\n", "errors:start_time must be a time"}},
		{all, "start_time \nstart_date 2026-02-29", []string{"errors:start_date must be a time"}},
		{all, "months ", []string{"errors:months This field is required.\n"}},
		{all, "months 0", []string{"errors:months must be a number from 1 to 36\n"}},
		{all, "months 37", []string{"errors:months must be"}},
		{all, "months -1", []string{"errors:months must be"}},
		{all, "months 1.5", []string{"errors:months must be"}},
		{all, "months 9223372036854775808", []string{"errors:months must be"}},
		{all, "months x\nstart_time x", []string{"errors:months must be", "errors:start_time must be"}},
		{
			all[:1], "cpu 1000\nmem 1k", []string{
				"cpu 1000\n", "errors:cpu The minimum CPU subscription is 2000 core MHz\n",
				"errors:mem must be a number of MB",
			},
		},
		{all[:1], "cpu \nmem 0", []string{"errors:system At least one of these is required: cpu, mem, disk, xfer\n"}},
		{all[:1], "cpu 2000.5", []string{"errors:cpu must be a number"}},
		{all[:1], "cpu -2000", []string{"errors:cpu must be a number"}},
		{all[:1], "disk 1M", []string{"errors:disk The minimum disk subscription is 1073741824 bytes\n"}},
		{all[:1], "disk 2000T", []string{"errors:disk The maximum disk subscription is 1125899906842624 bytes\n"}},
		{all[:1], "xfer 10 G", []string{"errors:xfer not a size"}},
		{all[1:5], "quantity ", []string{"errors:quantity This field is required.\n"}},
		{all[1:5], "quantity 0", []string{"errors:quantity The minimum"}},
		{all[1:5], "quantity 101", []string{"errors:quantity The maximum"}},
		{all[1:5], "quantity one", []string{"errors:quantity must be a number"}},
		{all[5:], "msft_lwa_00135 0", []string{"errors:system At least one of these is required: msft_lwa_00135,"}},
		{all[5:], "msft_lwa_00135 -1", []string{"errors:msft_lwa_00135 must be a number"}},
		{[]string{id + "/set", id + "/set/calculate"}, "months ", []string{"errors:months This field is required.\n"}},
		{[]string{id + "/set", id + "/set/calculate"}, "months 99", []string{"errors:months must be"}},
	} {
		for _, path := range c.paths {
			a := r.want(400, "POST", "/subscriptions/"+path, []byte(good+c.input))
			contains(t, a.body, c.want...)
		}
	}
	for _, path := range []string{"/set", "/set/calculate"} {
		contains(t, r.want(404, "POST", "/subscriptions/"+anyID+path, []byte("months 1")).body, "could not be found")
		r.want(404, "POST", "/subscriptions/"+anyID[1:]+path, []byte("months 1"))
	}
	for _, path := range all {
		r.want(405, "GET", "/subscriptions/"+path, nil)
	}
	if got := len(r.objects("GET", "/subscriptions/list", "")); got != 1 {
		t.Errorf("got %d subscriptions, want 1", got)
	}
	if got := r.balance(); got != "482.00" {
		t.Errorf("got the balance %s, want 482.00", got)
	}
}

func TestOrderBeyondTheBalanceIsRefused(t *testing.T) {
	r := newRig(t, at(&clock{now: testTime}, "20.99"))
	id := r.subscribe("cpu 2000")
	for path, input := range map[string]string{
		"resources/create":    "cpu 2000\nmem 256" + term,
		"network/ip/create":   "quantity 1" + term,
		"network/vlan/create": "quantity 1" + term,
		"software/create":     "msft_6wc_00002 1" + term,
		id + "/set":           "months 1",
	} {
		a := r.want(400, "POST", "/subscriptions/"+path, []byte(input))
		contains(t, a.body, input, "errors:balance The balance of 2.99 EUR is too low: ", " EUR are required.\n")
	}
	r.want(200, "POST", "/subscriptions/network/ip/calculate", []byte("quantity 99"+term))
	if got := r.balance(); got != "2.99" {
		t.Errorf("got the balance %s, want 2.99", got)
	}
	if subs := r.objects("GET", "/subscriptions/list", ""); len(subs) != 1 || value(subs[0], "months") != "1" {
		t.Errorf("got the subscriptions %v, want the first alone, of a month", subs)
	}
	r.objects("POST", "/subscriptions/resources/create", "disk 24G"+term) // 2.88
	if got := r.balance(); got != "0.11" {
		t.Errorf("got the balance %s, want 0.11", got)
	}
	r.checkSum()
}

func TestSubscriptionHasAtMostTenYears(t *testing.T) {
	r := newRig(t, at(&clock{now: testTime}, "10000"))
	path := "/subscriptions/" + r.subscribe("cpu 2000") + "/set"
	for range 3 {
		r.post(path, "months 36")
	}
	a := r.want(400, "POST", path, []byte("months 12"))
	contains(t, a.body, "errors:months A subscription has at most 120 months.")
	r.keys("extended", r.post(path, "months 11"), "months", "120", "end_time", "2036-11-01 00:00:00")
}

func TestSubscriptionsCountWhileTheyLast(t *testing.T) {
	c := &clock{now: testTime}
	r := newRig(t, at(c, "500"))
	r.subscribe("cpu 2000\ndisk 5G")
	r.post("/subscriptions/resources/create", "cpu 3000\nstart_time 2026-12-01 00:00:00\nmonths 1")
	for _, row := range []struct{ now, cpu, disk string }{
		{"2026-10-31 23:59:59", "0", "0"},
		{"2026-11-01 00:00:00", "2000", "5368709120"},
		{"2026-11-30 23:59:59", "2000", "5368709120"},
		{"2026-12-01 00:00:00", "3000", "0"},
		{"2027-01-01 00:00:00", "0", "0"},
	} {
		now, err := parseTime(row.now)
		if err != nil {
			t.Fatal(err)
		}
		c.set(now)
		r.keys(row.now, decode(r.get("/subscriptions/resources/info").body), "cpu", row.cpu, "disk", row.disk)
		r.keys(row.now, decode(r.get("/usage/info").body), "cpu:sub", row.cpu, "disk:sub", row.disk)
	}
	if got := len(r.objects("GET", "/subscriptions/list", "")); got != 3 {
		t.Errorf("got %d subscriptions, want all 3, also those that have ended", got)
	}
}

// TestConcurrentOrdersNeverOverdraw: of many orders at the same time as many succeed as the balance
// pays for.
func TestConcurrentOrdersNeverOverdraw(t *testing.T) {
	r := newRig(t, at(&clock{now: testTime}, "100"))
	id := r.subscribe("cpu 2000") // 82.00 are left
	var group sync.WaitGroup
	var mu sync.Mutex
	var spent money
	buy := func(path, input string, price money) {
		a, err := r.try(r.request("POST", path, strings.NewReader(input)))
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil || a.status != 200 && a.status != 400:
			t.Errorf("got %d %q, %v; want 200 or 400", a.status, a.body, err)
		case a.status == 200:
			spent += price
		}
	}
	for range 10 {
		group.Go(func() { buy("/subscriptions/resources/create", "disk 100G"+term, 1200) })
		group.Go(func() { buy("/subscriptions/"+id+"/set", "months 1", 1800) })
		group.Go(func() { buy("/subscriptions/software/create", "msft_6wc_00002 1"+term, 500) })
		group.Go(func() {
			if b, err := parseMoney(r.balance()); err != nil || b < 0 {
				t.Errorf("got the balance %v, %v; want none below 0", b, err)
			}
		})
	}
	group.Wait()
	if got, want := r.balance(), (8200 - spent).String(); got != want || spent < 8200-500 {
		t.Errorf("got the balance %s after paying %s, want %s, and nothing more to buy", got, spent, want)
	}
	r.checkSum()
}

// TestFaultsHitBilling: a 504 comes before a purchase, so that a repeated order buys once.
func TestFaultsHitBilling(t *testing.T) {
	r := newRig(t, at(&clock{now: testTime}, "200"))
	r.faults("504=100%")
	for range 10 {
		r.want(504, "POST", "/subscriptions/resources/create", []byte("cpu 2000"+term))
	}
	r.faults("500=100%")
	for _, path := range []string{"/balance/info", "/usage/info", "/subscriptions/list", "/profile/set"} {
		r.want(500, "POST", path, nil)
	}
	r.get("/profile/info")
	r.faults()
	if got := r.balance(); got != "200.00" {
		t.Errorf("got the balance %s, want 200.00", got)
	}
}

func TestUsageCountsTransfer(t *testing.T) {
	r := newRig(t, at(&clock{now: testTime}, "200"))
	id := r.create(1 << 20)
	r.write(id, 0, make([]byte, 1000))
	r.want(204, "POST", "/drives/"+id+"/write/0", gzipped(t, make([]byte, 5000)), "Content-Encoding", "gzip")
	r.read(id, 0, 300)
	r.keys("usage", decode(r.get("/usage/info").body), "disk", "1048576", "disk:burst", "1048576",
		"rx:total", "6000", "tx:total", "300", "xfer:total", "6300", "xfer:burst", "6300", "xfer:sub", "0")
	r.subscribe("xfer 1G\ndisk 1G")
	r.keys("usage", decode(r.get("/usage/info").body), "disk", "1048576", "disk:burst", "0", "disk:sub", "1073741824",
		"xfer:total", "6300", "xfer:burst", "0", "xfer:sub", "1073741824")
	r.want(204, "POST", "/drives/"+id+"/destroy", nil)
	r.keys("usage", decode(r.get("/usage/info").body), "disk", "0", "rx:total", "6000")
}
