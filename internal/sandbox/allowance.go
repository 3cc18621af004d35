package sandbox

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Quota is how much of a resource the account may use beyond its subscriptions. ParseQuota makes
// it.
type Quota struct {
	Resource string // cpu, mem or disk
	Amount   int64  // core MHz, MB (2^20 bytes) or bytes; not negative
}

// limitedProducts are the resources that have limits.
var limitedProducts = []*product{productCPU, productMem, productDisk}

// ParseQuota reads RESOURCE=AMOUNT: cpu=4000 (core MHz), mem=2048 or mem=2G (MB, or a size with a
// suffix), disk=10G (bytes, or a size with a suffix).
func ParseQuota(spec string) (Quota, error) {
	resource, value, _ := strings.Cut(spec, "=")
	q := Quota{Resource: resource}
	if err := q.check(); err != nil {
		return q, err
	}
	var err error
	if q.Amount, err = productOf(resource).parse(value); err != nil {
		return q, fmt.Errorf("quota %q is malformed: write it as cpu=4000, mem=2G or disk=10G", spec)
	}
	return q, nil
}

func (q Quota) check() error {
	if !slices.Contains(limitedProducts, productOf(q.Resource)) {
		return fmt.Errorf("unknown quota %q: known are cpu, mem and disk", q.Resource)
	}
	if q.Amount < 0 {
		return fmt.Errorf("quota %s: an amount cannot be negative", q.Resource)
	}
	return nil
}

// unlimited is the limit of a resource without one.
const unlimited = math.MaxInt64

// limit is how much the account may use of a resource: what it is subscribed to now, and burst,
// which is what exceeds the subscriptions. Burst is at most the quota, and there is none if the
// balance is used up. reason says why there is a limit.
func (s *Server) limit(p *product) (limit int64, reason string) {
	burst := int64(unlimited)
	for _, q := range s.cfg.Quotas {
		if q.Resource == p.key {
			burst, reason = q.Amount, "the quota of the account and its subscriptions"
		}
	}
	if s.billing.broke() {
		burst, reason = 0, "what the account is subscribed to, because its balance is used up"
	}
	subscribed := s.billing.subscribed(p)
	if burst > unlimited-subscribed {
		return unlimited, ""
	}
	return subscribed + burst, reason
}

// allow is the one place that checks limits: it returns an error if an account that uses used of a
// resource may not use more of it in addition. The caller holds the lock that keeps used from
// changing. The manual has no status for this (402 and 507 are of the parent API), so it is that of
// input which cannot be fulfilled.
func (s *Server) allow(p *product, used, more int64) error {
	limit, reason := s.limit(p)
	left := max(0, limit-used)
	if more <= 0 || more <= left {
		return nil
	}
	key := p.key
	if p == productDisk {
		key = "size"
	}
	return statusErrorf(http.StatusBadRequest, key,
		"%d %s of %s are required, and %d are available: the limit is %d, which is %s. "+
			"Free some, or subscribe to more %s (subscriptions/resources/create).",
		more, p.unit, p.name, left, limit, reason, p.key)
}

// allowDisk runs use, which makes drives larger by more bytes, if the account may use so much more
// disk. If there is a limit, calls run one at a time, so that of two that do not fit together one
// is refused. The caller holds no lock of a drive.
func (s *Server) allowDisk(more func() int64, use func() error) error {
	if limit, _ := s.limit(productDisk); limit == unlimited {
		return use()
	}
	s.growth.Lock()
	defer s.growth.Unlock()
	if err := s.allow(productDisk, s.usedDisk(), more()); err != nil {
		return err
	}
	return use()
}

// usedDisk is the size of all drives of the account, in bytes.
func (s *Server) usedDisk() (sum int64) {
	for _, d := range s.drives.list() {
		sum += d.size()
	}
	return sum
}

// allowServer returns an error if the account may not use the hardware of v in addition to that of
// the servers that run. The caller holds the lock of the servers.
func (s *Server) allowServer(v *virtualServer) error {
	for _, p := range serverProducts {
		if err := s.allow(p, s.servers.used(p), v.number(p.key)); err != nil {
			return err
		}
	}
	return nil
}

// allowStopped returns an error if v could not even run alone. The caller holds the lock of the
// servers.
func (s *Server) allowStopped(v *virtualServer) error {
	for _, p := range serverProducts {
		if err := s.allow(p, 0, v.number(p.key)); err != nil {
			return err
		}
	}
	return nil
}

// serverProducts are the resources that servers use while they run.
var serverProducts = []*product{productCPU, productMem}

// used is how much of a resource the servers use that run. The caller holds the lock.
func (st *serverStore) used(p *product) (sum int64) {
	for _, v := range st.list() {
		if v.running() {
			sum += v.number(p.key)
		}
	}
	return sum
}

// usageInfo handles /usage/info (manual 11). Of each resource it has what is in use now (cpu in
// core MHz, mem in MB, disk and transfer in bytes), what exceeds the subscriptions (:burst), what
// the account is subscribed to (:sub), and, where there is a limit, the most that may be used
// (:limit, which is an addition of this server). Transfer is that of the data of drives since the
// start of the server.
func (s *Server) usageInfo(*request) (response, error) {
	s.servers.mu.RLock()
	cpu, mem := s.servers.used(productCPU), s.servers.used(productMem)
	s.servers.mu.RUnlock()
	rx, tx := s.received.Load(), s.sent.Load()
	var o object
	s.addUsage(&o, productCPU, "cpu", cpu)
	s.addUsage(&o, productMem, "mem", mem)
	s.addUsage(&o, productDisk, "disk", s.usedDisk())
	o.add("rx:total", strconv.FormatInt(rx, 10))
	o.add("tx:total", strconv.FormatInt(tx, 10))
	s.addUsage(&o, productTransfer, "xfer:total", rx+tx)
	return textResponse(o), nil
}

// addUsage adds what is used of a resource, under key, and its relation to the subscriptions.
func (s *Server) addUsage(o *object, p *product, key string, used int64) {
	subscribed := s.billing.subscribed(p)
	o.add(key, strconv.FormatInt(used, 10))
	o.add(p.key+":burst", strconv.FormatInt(max(0, used-subscribed), 10))
	o.add(p.key+":sub", strconv.FormatInt(subscribed, 10))
	if !slices.Contains(limitedProducts, p) {
		return
	}
	if limit, _ := s.limit(p); limit != unlimited {
		o.add(p.key+":limit", strconv.FormatInt(limit, 10))
	}
}
