package endpoints

import (
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// TestTargetsThatCannotBeMade are refused with the reason, at places that have none to make.
func TestTargetsThatCannotBeMade(t *testing.T) {
	o := New(nil, Options{})
	for _, target := range []transfer.Ref{{Path: "https://h/x"}, {Path: "/x"}, {Path: "-"}} {
		s := &worker.Session{Job: worker.Job{Spec: transfer.Spec{Target: target}}}
		if id, err := o.Provision(t.Context(), s, 512, false); transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("provision %s: got %q, %v; want %s", target, id, err, transfer.CodeInvalid)
		}
		if _, err := o.Ready(t.Context(), s, "x"); transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("ready %s: got %v, want %s", target, err, transfer.CodeInvalid)
		}
	}
}

// TestEveryPlaceIsWhole has an owner, a source, and a sink where targets are made.
func TestEveryPlaceIsWhole(t *testing.T) {
	for _, p := range places {
		if p.source == nil || p.maker != nil && (p.sink == nil || p.maker.provision == nil || p.maker.ready == nil) {
			t.Errorf("%T: got %+v", p.Scheme, p)
		}
	}
}
