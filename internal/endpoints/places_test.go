package endpoints

import (
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// TestTargetsWithoutAMakerAreRefused: Provision and Ready refuse places without a maker.
func TestTargetsWithoutAMakerAreRefused(t *testing.T) {
	o := New(nil, Options{})
	for _, target := range []transfer.Ref{{Path: "https://h/x"}, {Path: "/x"}, {Path: "-"}} {
		s := &worker.Session{Job: worker.Job{Spec: transfer.Spec{Target: target}}}
		if made, err := o.Provision(t.Context(), s, 512, false); transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("provision %s: got %q, %v; want %s", target, made.UUID, err, transfer.CodeInvalid)
		}
		if _, err := o.Ready(t.Context(), s, "x"); transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("ready %s: got %v, want %s", target, err, transfer.CodeInvalid)
		}
	}
}

// TestEveryPlaceIsComplete: each place has a source, and a sink if it has a maker.
func TestEveryPlaceIsComplete(t *testing.T) {
	for _, p := range places {
		if p.source == nil || p.maker != nil && (p.sink == nil || p.maker.provision == nil || p.maker.ready == nil) {
			t.Errorf("%T: got %+v", p.Scheme, p)
		}
	}
}
