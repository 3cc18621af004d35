package sandbox

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// currency is the one that the price list has.
	currency = "EUR"
	// defaultBalance is that of a new account without Config.Balance.
	defaultBalance = "1000.00"
)

// billing is the account's money and its subscriptions. The balance is the sum of all transactions.
// It is safe for concurrent use.
type billing struct {
	now           func() time.Time
	transactions  *store[*transaction]
	subscriptions *store[*subscription]

	mu      sync.RWMutex // locked while something is bought
	balance money
}

// transaction is a change of the balance: a purchase of subscriptions, or a payment. It never
// changes.
type transaction struct {
	entry
	date  time.Time
	text  string
	total money // negative if the account pays

	// bought are the UUIDs of the subscriptions that were made or extended for a number of months.
	// The transaction is saved last, so it decides whether the purchase took place: the months of a
	// subscription are the sum of those of its transactions.
	bought []string
	months int

	// configured is the Config.Balance that a payment made the balance equal to.
	configured string
}

// object is the transaction as responses have it. There are no taxes.
func (t *transaction) object() object {
	return object{
		{"date", formatTime(t.date)}, {"description", t.text},
		{"value", t.total.String()}, {"tax", money(0).String()}, {"total", t.total.String()},
	}
}

const (
	keyBought     = "sandbox:bought"
	keyConfigured = "sandbox:configured"
)

// description implements entity.
func (t *transaction) description() object {
	o := t.object()
	if len(t.bought) > 0 {
		o.add(keyBought, strings.Join(t.bought, " "))
		o.add("months", strconv.Itoa(t.months))
	}
	if t.configured != "" {
		o.add(keyConfigured, t.configured)
	}
	return o
}

// transactionOf is the inverse of transaction.description.
func transactionOf(_ string, o object) (*transaction, error) {
	t := new(transaction)
	t.text, _ = o.get("description")
	t.configured, _ = o.get(keyConfigured)
	date, _ := o.get("date")
	total, _ := o.get("total")
	var err error
	if t.date, err = parseTime(date); err != nil {
		return nil, fmt.Errorf("read date: %w", err)
	}
	if t.total, err = parseMoney(total); err != nil {
		return nil, fmt.Errorf("read total: %w", err)
	}
	if bought, ok := o.get(keyBought); ok {
		t.bought = strings.Fields(bought)
		months, _ := o.get("months")
		if t.months, err = strconv.Atoi(months); err != nil {
			return nil, fmt.Errorf("read months: %w", err)
		}
	}
	return t, nil
}

// openBilling reads the transactions and the subscriptions in dir, and applies configured, a
// Config.Balance.
func openBilling(dir, configured string, now func() time.Time) (b *billing, err error) {
	b = &billing{now: now}
	if b.transactions, err = openStore(filepath.Join(dir, "transactions"), "transaction", transactionOf); err != nil {
		return nil, err
	}
	b.subscriptions, err = openStore(filepath.Join(dir, "subscriptions"), "subscription", subscriptionOf)
	if err != nil {
		return nil, err
	}
	applied := ""
	for _, t := range b.transactions.list() {
		b.balance += t.total
		for _, id := range t.bought {
			if sub, ok := b.subscriptions.find(id); ok {
				sub.months += t.months
			}
		}
		if t.configured != "" {
			applied = t.configured
		}
	}
	for _, sub := range b.subscriptions.list() {
		if sub.months > 0 {
			continue
		}
		if err := b.subscriptions.remove(sub); err != nil { // its purchase was interrupted
			return nil, err
		}
	}
	return b, b.configure(configured, applied)
}

// ParseBalance reads a Config.Balance as a number of cents: 0 to less than 10^12 EUR, as digits,
// and optionally a point and one or two decimals.
func ParseBalance(s string) (cents int64, err error) {
	balance, err := parseMoney(s)
	if err != nil || balance < 0 {
		return 0, fmt.Errorf("balance %q is malformed: write it as 10.00", s)
	}
	return int64(balance), nil
}

// configure makes the balance equal to a configured one, unless that was applied before: the
// balance of an account that has spent some of it stays. Empty, it is defaultBalance for a new
// account, and no change for others.
func (b *billing) configure(configured, applied string) error {
	if configured == "" {
		if applied != "" {
			return nil
		}
		configured = defaultBalance
	}
	cents, err := ParseBalance(configured)
	if err != nil {
		return err
	}
	balance := money(cents)
	if balance.String() == applied {
		return nil
	}
	return b.record(&transaction{
		text:       "Balance set to " + balance.String() + " " + currency,
		total:      balance - b.balance,
		configured: balance.String(),
	})
}

// record saves a transaction and applies it to the balance. The caller holds mu, or is the only one
// that uses b.
func (b *billing) record(t *transaction) error {
	t.date = b.now()
	if err := b.transactions.add(uuid.NewString(), t); err != nil {
		return internalError(err)
	}
	b.balance += t.total
	return nil
}

// broke reports whether no money is left.
func (b *billing) broke() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.balance <= 0
}

// listCurrencies handles /currencies/list (manual 11).
func (s *Server) listCurrencies(*request) (response, error) {
	return response{http.StatusOK, []byte(currency + "\n")}, nil
}

// balanceInfo handles /balance/info (manual 11.5).
func (s *Server) balanceInfo(*request) (response, error) {
	s.billing.mu.RLock()
	defer s.billing.mu.RUnlock()
	return textResponse(object{{"balance", s.billing.balance.String()}, {"currency", currency}}), nil
}

// listTransactions handles /transactions/list (manual 11): all changes of the balance, oldest
// first. What the account pays is negative, so that the sum of all totals is the balance.
func (s *Server) listTransactions(*request) (response, error) {
	var all []object
	for _, t := range s.billing.transactions.list() {
		all = append(all, t.object())
	}
	return textResponse(all...), nil
}
