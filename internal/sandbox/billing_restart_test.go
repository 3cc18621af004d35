package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBillingSurvivesARestart(t *testing.T) {
	cfg := testConfig(t)
	at(&clock{now: testTime}, "200")(&cfg)
	r := serveRig(t, cfg)
	id := r.subscribe("cpu 2000\nmem 2G")
	r.post("/subscriptions/"+id+"/set", "months 2")
	r.post("/subscriptions/software/create", "msft_6wc_00002 1"+term)
	paths := []string{
		"/balance/info", "/transactions/list", "/subscriptions/list", "/subscriptions/resources/info", "/usage/info",
	}
	before := make(map[string]string)
	for _, path := range paths {
		before[path] = string(r.get(path).body)
	}
	for _, balance := range []string{"200", "200.0", ""} {
		r.stop()
		cfg.Balance = balance
		r = serveRig(t, cfg)
		for _, path := range paths {
			if got := string(r.get(path).body); got != before[path] {
				t.Errorf("balance %q, %s: got\n%s\nwant\n%s", balance, path, got, before[path])
			}
		}
	}
	r.stop()
	cfg.Balance = "3"
	r = serveRig(t, cfg)
	if got := r.balance(); got != "3.00" {
		t.Errorf("got the balance %s after a start with another one, want 3.00", got)
	}
	r.checkSum()
}

// TestStartDropsAnIncompletePurchase: a subscription whose transaction is missing was not paid for.
func TestStartDropsAnIncompletePurchase(t *testing.T) {
	cfg := testConfig(t)
	at(&clock{now: testTime}, "200")(&cfg)
	r := serveRig(t, cfg)
	r.subscribe("cpu 2000")
	r.stop()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "transactions", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		} else if strings.Contains(string(text), keyBought) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	r = serveRig(t, cfg)
	if subs := r.objects("GET", "/subscriptions/list", ""); len(subs) != 0 || r.balance() != "200.00" {
		t.Errorf("got %v and the balance %s, want no subscription, and 200.00", subs, r.balance())
	}
	files, err = filepath.Glob(filepath.Join(cfg.Dir, "subscriptions", "*"))
	if err != nil || len(files) != 0 {
		t.Errorf("got the files %v, %v; want none", files, err)
	}
}

func TestNewRefusesAMalformedBalanceOrQuota(t *testing.T) {
	for _, balance := range []string{"-1", "ten", "1.234", "1e3", " 1"} {
		if _, err := New(Config{Dir: t.TempDir(), User: "u", Password: "p", Balance: balance}); err == nil {
			t.Errorf("balance %q: got no error, want one", balance)
		}
	}
	for _, q := range []Quota{{"disk", -1}, {"size", 1}, {}} {
		if _, err := New(Config{Dir: t.TempDir(), User: "u", Password: "p", Quotas: []Quota{q}}); err == nil {
			t.Errorf("quota %v: got no error, want one", q)
		}
	}
}
