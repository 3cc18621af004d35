package main

import (
	"testing"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// TestWorkerNamesDiffer though host and process ID are the same.
func TestWorkerNamesDiffer(t *testing.T) {
	if one, two := workerName(), workerName(); one == two {
		t.Errorf("got %s twice, want two names", one)
	}
}

// TestForgedJobIsRefused: a record that was written into the queue by hand may ask for a chunk that
// is larger than any buffer.
func TestForgedJobIsRefused(t *testing.T) {
	spec := transfer.NewSpec(transfer.Upload, transfer.Ref{Path: "/a.img"}, transfer.Ref{Endpoint: "zrh"})
	spec.Name, spec.ChunkSize = "a", 1<<30
	d := &daemon{cfg: &config.Config{}, log: zap.NewNop()}
	err := d.runJobs()(t.Context(), nil, &queue.Attempt{Spec: spec})
	if got := transfer.CodeOf(err); got != transfer.CodeInvalid {
		t.Errorf("got %v with code %q, want code %q", err, got, transfer.CodeInvalid)
	}
}
