package main

import (
	"testing"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// TestWorkerName tells two transferds apart, though host and process ID are the same.
func TestWorkerName(t *testing.T) {
	if one, two := workerName(), workerName(); one == two {
		t.Errorf("both are %s", one)
	}
}

// TestForgedJob is a record that somebody has written into the queue by hand, with a chunk that no buffer holds.
func TestForgedJob(t *testing.T) {
	spec := transfer.NewSpec(transfer.Upload, transfer.Ref{Path: "/a.img"}, transfer.Ref{Endpoint: "zrh"})
	spec.Name, spec.ChunkSize = "a", 1<<30
	d := &daemon{cfg: &config.Config{}, log: zap.NewNop()}
	if err := d.runJobs()(t.Context(), nil, &queue.Attempt{Spec: spec}); transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Error(err)
	}
}
