package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	// maxOrder is the most months that are bought at a time: the three years of the price list.
	maxOrder = 36
	// maxMonths is the longest subscription, however often it is extended, in months.
	maxMonths = 120

	required = "This field is required."
)

// order is the input of a command that subscribes to something or calculates its price.
type order struct {
	in    object // as it was sent
	lines []*subscription
}

// orderForm reads what an input orders, and returns an errors:KEY pair for each bad key.
type orderForm func(in object) (lines []*subscription, bad object)

// readOrder reads an order with start_time (or start_date) and months.
func (req *request) readOrder(form orderForm) (order, error) {
	in, err := req.input()
	if err != nil {
		return order{}, err
	}
	lines, bad := form(in)
	start, months := readTerm(in, &bad)
	if len(bad) > 0 {
		return order{}, invalidInput(in, bad)
	}
	for _, sub := range lines {
		sub.start, sub.months = start, months
	}
	return order{in, lines}, nil
}

// readTerm reads the first day and the months of a subscription. The manual's tables have the key
// start_date where its examples have start_time.
func readTerm(in object, bad *object) (start time.Time, months int) {
	key := "start_time"
	text, _ := in.get(key)
	if date, ok := in.get("start_date"); ok && text == "" {
		key, text = "start_date", date
	}
	if text == "" {
		bad.add("errors:"+key, required)
	} else if t, err := parseTime(text); err != nil {
		bad.add("errors:"+key, err.Error())
	} else {
		start = t
	}
	return start, readMonths(in, bad)
}

// readMonths reads the key months, 1 to maxOrder.
func readMonths(in object, bad *object) int {
	text, _ := in.get("months")
	if text == "" {
		bad.add("errors:months", required)
		return 0
	}
	months, err := parseCount(text)
	if err != nil || months < 1 || months > maxOrder {
		bad.add("errors:months", fmt.Sprintf("must be a number from 1 to %d", maxOrder))
	}
	return int(months)
}

// orderProducts is the form of an order of some of the products: their keys have the quantities. A
// quantity that is empty or 0 is left out.
func orderProducts(products []*product) orderForm {
	return func(in object) (lines []*subscription, bad object) {
		keys := make([]string, len(products))
		for i, p := range products {
			keys[i] = p.key
			text, _ := in.get(p.key)
			if strings.Trim(text, "0") == "" {
				continue
			}
			n, why := p.quantity(text)
			if why != "" {
				bad.add("errors:"+p.key, why)
			}
			lines = append(lines, &subscription{product: p, quantity: n})
		}
		if len(lines) == 0 {
			bad.add("errors:system", "At least one of these is required: "+strings.Join(keys, ", "))
		}
		return lines, bad
	}
}

// orderResources is the form of an order of a number of network resources, each with a subscription
// of its own.
func orderResources(p *product) orderForm {
	return func(in object) (lines []*subscription, bad object) {
		text, _ := in.get("quantity")
		if text == "" {
			bad.add("errors:quantity", required)
			return nil, bad
		}
		n, why := p.quantity(text)
		if why != "" {
			bad.add("errors:quantity", why)
		}
		for range n {
			lines = append(lines, &subscription{product: p, quantity: 1})
		}
		return lines, bad
	}
}

// price is what the order costs.
func (o *order) price() (sum money) {
	for _, sub := range o.lines {
		sum += sub.price(sub.months)
	}
	return sum
}

// text describes the order in a transaction.
func (o *order) text() string {
	var parts []string
	count := make(map[*product]int64)
	for _, sub := range o.lines {
		count[sub.product] += sub.quantity
	}
	for _, sub := range o.lines {
		if n, ok := count[sub.product]; ok {
			parts = append(parts, fmt.Sprintf("%s %d %s", sub.product.name, n, sub.product.unit))
			delete(count, sub.product)
		}
	}
	return "Subscription: " + strings.Join(parts, ", ")
}

// tooLittle is the response to an order that costs more than the balance. The manual has no status
// for it (402 is one of the parent API), so it is that of an input which cannot be fulfilled.
func (b *billing) tooLittle(in object, price money) error {
	var bad object
	bad.add("errors:balance", fmt.Sprintf("The balance of %s %s is too low: %s %s are required.",
		b.balance, currency, price, currency))
	return invalidInput(in, bad)
}

// provider makes the resource of a subscription, and returns its name and what destroys it again.
// The caller holds the lock of the servers.
type provider func() (name string, withdraw func(), err error)

// buy pays for an order and makes its subscriptions: all of them or none. With a provider each gets
// a resource.
func (b *billing) buy(o *order, provide provider) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	price := o.price()
	if price > b.balance {
		return b.tooLittle(o.in, price)
	}
	var undo []func()
	defer func() {
		for _, f := range undo {
			f()
		}
	}()
	t := &transaction{text: o.text(), total: -price, months: o.lines[0].months}
	for _, sub := range o.lines {
		if provide != nil {
			name, withdraw, err := provide()
			if err != nil {
				return err
			}
			sub.resource, undo = name, append(undo, withdraw)
		}
		id := uuid.NewString()
		if err := b.subscriptions.add(id, sub); err != nil {
			return internalError(err)
		}
		t.bought = append(t.bought, id)
		undo = append(undo, func() { _ = b.subscriptions.remove(sub) }) // else the next start removes it
	}
	if err := b.record(t); err != nil {
		return err
	}
	undo = nil
	return nil
}

// extend pays for more months of a subscription.
func (b *billing) extend(in object, sub *subscription, months int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if sub.months+months > maxMonths {
		why := fmt.Sprintf("A subscription has at most %d months.", maxMonths)
		return invalidInput(in, object{{"errors:months", why}})
	}
	price := sub.price(months)
	if price > b.balance {
		return b.tooLittle(in, price)
	}
	p := sub.product
	text := fmt.Sprintf("Extension of subscription %s: %s %d %s", sub.id, p.name, sub.quantity, p.unit)
	err := b.record(&transaction{text: text, total: -price, bought: []string{sub.id}, months: months})
	if err == nil {
		sub.months += months
	}
	return err
}

// subscribeToResources handles /subscriptions/resources/create (manual 11.10): a subscription for
// each resource.
func (s *Server) subscribeToResources(req *request) (response, error) {
	return s.subscribe(req, orderProducts(resourceProducts), nil)
}

// subscribeToIPs handles /subscriptions/network/ip/create (manual 11): new addresses, and
// a subscription for each.
func (s *Server) subscribeToIPs(req *request) (response, error) {
	return s.subscribe(req, orderResources(productIP), func() (string, func(), error) {
		a, err := s.newAddress()
		if err != nil {
			return "", nil, err
		}
		return a.id, func() { _, _ = discard(s.addresses, a) }, nil
	})
}

// subscribeToVLANs handles /subscriptions/network/vlan/create (manual 11): new VLANs, and
// a subscription for each.
func (s *Server) subscribeToVLANs(req *request) (response, error) {
	return s.subscribe(req, orderResources(productVLAN), func() (string, func(), error) {
		v, err := s.newVLAN("subscribed VLAN")
		if err != nil {
			return "", nil, err
		}
		return v.id, func() { _, _ = discard(s.vlans, v) }, nil
	})
}

// subscribe buys what a request orders and responds with the subscriptions.
func (s *Server) subscribe(req *request, form orderForm, provide provider) (response, error) {
	o, err := req.readOrder(form)
	if err != nil {
		return response{}, err
	}
	if provide != nil {
		s.servers.mu.Lock() // it guards resources, and is locked before billing
		defer s.servers.mu.Unlock()
	}
	if err := s.billing.buy(&o, provide); err != nil {
		return response{}, err
	}
	return s.showSubscriptions(o.lines), nil
}

func (s *Server) showSubscriptions(subs []*subscription) response {
	s.billing.mu.RLock()
	defer s.billing.mu.RUnlock()
	return textResponse(objectsOf(subs)...)
}

// subscribeToSoftware handles /subscriptions/software/create (manual 11): it responds with the
// input and end_time.
func (s *Server) subscribeToSoftware(req *request) (response, error) {
	o, err := req.readOrder(orderProducts(softwareProducts))
	if err != nil {
		return response{}, err
	}
	if err := s.billing.buy(&o, nil); err != nil {
		return response{}, err
	}
	var echo object
	for _, sub := range o.lines {
		echo.add(sub.product.key, strconv.FormatInt(sub.quantity, 10))
	}
	first := o.lines[0]
	echo.add("start_time", formatTime(first.start))
	echo.add("end_time", formatTime(addMonths(first.start, first.months)))
	echo.add("months", strconv.Itoa(first.months))
	return textResponse(echo), nil
}

// calculateSoftware handles /subscriptions/software/calculate (manual 11).
func (s *Server) calculateSoftware(req *request) (response, error) {
	return calculate(req, orderProducts(softwareProducts))
}

// calculateIPs handles /subscriptions/network/ip/calculate (manual 11).
func (s *Server) calculateIPs(req *request) (response, error) {
	return calculate(req, orderResources(productIP))
}

// calculateVLANs handles /subscriptions/network/vlan/calculate (manual 11).
func (s *Server) calculateVLANs(req *request) (response, error) {
	return calculate(req, orderResources(productVLAN))
}

// calculate responds with the price of an order, and buys nothing.
func calculate(req *request, form orderForm) (response, error) {
	o, err := req.readOrder(form)
	if err != nil {
		return response{}, err
	}
	return amountResponse(o.price()), nil
}

func amountResponse(m money) response {
	return textResponse(object{{"amount", m.String()}, {"currency", currency}})
}

// extendSubscription handles /subscriptions/UUID/set (manual 11): months more of it.
func (s *Server) extendSubscription(req *request, sub *subscription) (response, error) {
	in, months, err := req.readExtension()
	if err != nil {
		return response{}, err
	}
	if err := s.billing.extend(in, sub, months); err != nil {
		return response{}, err
	}
	return s.showSubscriptions([]*subscription{sub}), nil
}

// calculateExtension handles /subscriptions/UUID/set/calculate (manual 11).
func (s *Server) calculateExtension(req *request, sub *subscription) (response, error) {
	_, months, err := req.readExtension()
	if err != nil {
		return response{}, err
	}
	return amountResponse(sub.price(months)), nil
}

func (req *request) readExtension() (in object, months int, err error) {
	if in, err = req.input(); err != nil {
		return nil, 0, err
	}
	var bad object
	if months = readMonths(in, &bad); len(bad) > 0 {
		return nil, 0, invalidInput(in, bad)
	}
	return in, months, nil
}
