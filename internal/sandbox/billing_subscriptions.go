package sandbox

import (
	"fmt"
	"strconv"
	"time"
)

// subscription is a quantity of a product for some months. Quantity and start never change.
type subscription struct {
	entry
	product  *product
	quantity int64  // in the product's unit
	resource string // that it is for: an address, or the UUID of a VLAN
	start    time.Time

	months int // at least 1, else its purchase was interrupted; guarded by billing.mu
}

// end is when it ends. The caller holds billing.mu.
func (sub *subscription) end() time.Time { return addMonths(sub.start, sub.months) }

// price is what some months of it cost.
func (sub *subscription) price(months int) money { return sub.product.price(sub.quantity, months) }

// description implements entity. The months are those of its transactions.
func (sub *subscription) description() object {
	o := object{
		{"type", sub.product.key}, {"type_str", sub.product.name},
		{"unit", sub.product.unit}, {"quantity", strconv.FormatInt(sub.quantity, 10)},
	}
	if sub.resource != "" {
		o.add("resource", sub.resource)
	}
	o.add("start_time", formatTime(sub.start))
	return o
}

// object is the subscription as responses have it. The caller holds billing.mu.
func (sub *subscription) object() object {
	o := append(object{{"subscription", sub.id}}, sub.description()...)
	o.add("end_time", formatTime(sub.end()))
	o.add("months", strconv.Itoa(sub.months))
	return o
}

// subscriptionOf is the inverse of subscription.description.
func subscriptionOf(_ string, o object) (*subscription, error) {
	sub := new(subscription)
	sub.resource, _ = o.get("resource")
	key, _ := o.get("type")
	quantity, _ := o.get("quantity")
	start, _ := o.get("start_time")
	if sub.product = productOf(key); sub.product == nil {
		return nil, fmt.Errorf("read type: %q is not in the price list", key)
	}
	var err error
	if sub.quantity, err = parseCount(quantity); err != nil {
		return nil, fmt.Errorf("read quantity: %w", err)
	}
	if sub.start, err = parseTime(start); err != nil {
		return nil, fmt.Errorf("read start_time: %w", err)
	}
	return sub, nil
}

// subscribed is how much of a product the account is subscribed to now.
func (b *billing) subscribed(p *product) (sum int64) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	now := b.now()
	for _, sub := range b.subscriptions.list() {
		if sub.product == p && !now.Before(sub.start) && now.Before(sub.end()) {
			sum += sub.quantity
		}
	}
	return sum
}

// totals has what the account is subscribed to now, a key for each product.
func (b *billing) totals(products []*product) (o object) {
	for _, p := range products {
		o.add(p.key, strconv.FormatInt(b.subscribed(p), 10))
	}
	return o
}

// listSubscriptions handles /subscriptions/list (manual 11): all, also those that have ended or
// have not begun, oldest first.
func (s *Server) listSubscriptions(*request) (response, error) {
	s.billing.mu.RLock()
	defer s.billing.mu.RUnlock()
	return textResponse(objectsOf(s.billing.subscriptions.list())...), nil
}

func objectsOf(subs []*subscription) []object {
	objects := make([]object, len(subs))
	for i, sub := range subs {
		objects[i] = sub.object()
	}
	return objects
}

// infoResourceSubscriptions handles /subscriptions/resources/info, which the manual leaves
// undefined: how much of each resource the account is subscribed to now.
func (s *Server) infoResourceSubscriptions(*request) (response, error) {
	return textResponse(s.billing.totals(resourceProducts)), nil
}

// infoNetSubscriptions handles /subscriptions/net/info, which the manual leaves undefined: to how
// many addresses and VLANs the account is subscribed now.
func (s *Server) infoNetSubscriptions(*request) (response, error) {
	return textResponse(s.billing.totals(networkProducts)), nil
}

// namedSubscription is the subscription that the path names.
func (s *Server) namedSubscription(req *request) (*subscription, error) {
	return named(s.billing.subscriptions, kindSubscription, req.parameters["uuid"])
}
