package sandbox

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Fault is one kind of fault and its strength. ParseFault makes it.
type Fault struct {
	Kind    string        // as in ParseFault
	Percent float64       // of the requests that the kind may hit, 0 to 100
	Delay   time.Duration // of latency, imaging and shutdown
	Rate    int64         // of bandwidth, bytes a second
}

type faultKind int

const (
	faultReset faultKind = iota
	faultFailure
	faultTimeout
	faultConflict
	faultTruncate
	faultCorruptWrite
	faultCorruptRead
	faultLatency
	faultBandwidth
	faultImaging
	faultShutdown
	faultKinds

	noFault faultKind = -1
)

var faultNames = [faultKinds]string{
	faultConflict: "409", faultTimeout: "504", faultFailure: "500", faultReset: "reset", faultTruncate: "truncate",
	faultCorruptWrite: "corrupt-write", faultCorruptRead: "corrupt-read",
	faultLatency: "latency", faultBandwidth: "bandwidth", faultImaging: "imaging", faultShutdown: "shutdown",
}

// Never is the Delay of the fault shutdown=never.
const Never time.Duration = math.MaxInt64

// ParseFault reads KIND=VALUE. Kinds with a percentage, such as 409=5% or corrupt-read=0.1%, hit
// that share of the authenticated requests named here; of several at most one hits a request.
// profile/info is never hit.
//
//	409            read, write, clone, destroy, start, stop, shutdown, reset, add, remove, and set
//	               except of the profile and of a subscription: refused as busy before anything
//	               happens
//	500            every command: refused before anything happens
//	504            every command. Half of the time one that may run twice takes effect first; a
//	               create, a clone or the extension of a subscription never does, or a retry would
//	               make, or pay for, a second one
//	reset          every command: the connection is reset, before anything happens, or
//	               half of the time in the middle of the body of a read's response or of a write
//	truncate       a read's response ends short of its Content-Length; a write stores a part of its
//	               body, then the connection closes
//	corrupt-write  a write responds with 204, and one stored bit is wrong
//	corrupt-read   one bit of a read's response is wrong; the drive is not changed
//
// The others are always on:
//
//	latency=20ms    added to every command
//	bandwidth=100M  bytes a second of all bodies together, both directions;
//	                k, M, G, T as in sizes
//	imaging=2s      a clone stays imaging at least this long
//	shutdown=10s    a server stops this long after shutdown, instead of after 3 seconds; with
//	                shutdown=never it runs on, until it is stopped
func ParseFault(spec string) (Fault, error) {
	name, value, ok := strings.Cut(spec, "=")
	kind := kindOf(name)
	if kind == noFault {
		return Fault{}, unknownFault(name)
	}
	f := Fault{Kind: name}
	if !ok || value == "" {
		return Fault{}, fmt.Errorf("fault %q has no value: write it as %s", spec, exampleOf(kind))
	}
	var err error
	switch kind {
	case faultLatency, faultImaging, faultShutdown:
		if kind == faultShutdown && value == "never" {
			f.Delay = Never
			break
		}
		f.Delay, err = time.ParseDuration(value)
	case faultBandwidth:
		short := value // users write MiB, which the protocol does not have
		if unit, ok := strings.CutSuffix(value, "iB"); ok && strings.ContainsAny(unit, "KMGT") {
			short = unit
		}
		f.Rate, err = parseSize(short)
	default:
		digits, percent := strings.CutSuffix(value, "%")
		if f.Percent, err = strconv.ParseFloat(digits, 64); !percent {
			err = errSize
		}
	}
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q is malformed: write it as %s", spec, exampleOf(kind))
	}
	return f, f.check()
}

func exampleOf(kind faultKind) string {
	switch kind {
	case faultLatency, faultImaging:
		return faultNames[kind] + "=20ms"
	case faultShutdown:
		return faultNames[kind] + "=10s or " + faultNames[kind] + "=never"
	case faultBandwidth:
		return faultNames[kind] + "=100M"
	}
	return faultNames[kind] + "=0.5%"
}

func kindOf(name string) faultKind {
	if i := slices.Index(faultNames[:], name); i >= 0 {
		return faultKind(i)
	}
	return noFault
}

func unknownFault(name string) error {
	known := slices.Sorted(slices.Values(faultNames[:]))
	return fmt.Errorf("unknown fault %q: known are %s", name, strings.Join(known, ", "))
}

// check returns an error if a value is out of its range.
func (f Fault) check() error {
	switch kindOf(f.Kind) {
	case noFault:
		return unknownFault(f.Kind)
	case faultLatency, faultImaging, faultShutdown:
		if f.Delay < 0 {
			return fmt.Errorf("fault %s: a delay cannot be negative", f.Kind)
		}
	case faultBandwidth:
		if f.Rate <= 0 {
			return fmt.Errorf("fault %s: a rate must be more than 0 bytes a second", f.Kind)
		}
	default:
		if !(f.Percent >= 0 && f.Percent <= 100) { // so that NaN is refused
			return fmt.Errorf("fault %s: a percentage is 0%% to 100%%", f.Kind)
		}
	}
	return nil
}

// faultSet has the faults in the form that requests use. The zero value has none.
type faultSet struct {
	percent   [faultKinds]float64
	latency   time.Duration
	imaging   time.Duration
	shutdown  time.Duration
	bandwidth *bandwidth // nil: no limit
}

// SetFaults replaces all faults; requests that have begun keep the old ones. If a kind is given
// twice, the last counts.
func (s *Server) SetFaults(faults []Fault) error {
	set := &faultSet{shutdown: shutdownTime}
	for _, f := range faults {
		if err := f.check(); err != nil {
			return err
		}
		switch kind := kindOf(f.Kind); kind {
		case faultLatency:
			set.latency = f.Delay
		case faultImaging:
			set.imaging = f.Delay
		case faultShutdown:
			set.shutdown = f.Delay
		case faultBandwidth:
			set.bandwidth = newBandwidth(f.Rate)
		default:
			set.percent[kind] = f.Percent
		}
	}
	s.faults.Store(set)
	return nil
}

type faultCounts [faultKinds]atomic.Int64

func (c *faultCounts) add(kind faultKind) { c[kind].Add(1) }

// FaultCounts is the number of requests that each kind of fault has hit since New, also 0. Clones
// that were held back count for imaging, requests that were delayed for latency and bandwidth, and
// shutdowns that take another time than without the fault for shutdown.
func (s *Server) FaultCounts() map[string]int64 {
	counts := make(map[string]int64, faultKinds)
	for kind, name := range faultNames {
		counts[name] = s.counts[kind].Load()
	}
	return counts
}
