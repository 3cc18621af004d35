package flow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// A window starts small, doubles after a quick first chunk, and halves when the endpoint throttles.
func ExampleWindow() {
	window := flow.NewWindow(0, 16, 0)
	fmt.Println("slow start:", window.Limit())

	if window.Enter() { // this goroutine may carry chunks
		began := time.Now()
		// … the chunk is written and read back …
		window.ChunkDone(4<<20, began)
	}
	fmt.Println("after a quick chunk:", window.Limit())

	window.Failed(transfer.CodeThrottled)
	fmt.Println("after a response of 429:", window.Limit())
	// Output:
	// slow start: 4
	// after a quick chunk: 8
	// after a response of 429: 4
}

// A call has failed with a server error. Retry repeats it until it succeeds, fails in another way,
// or has failed for longer than the policy allows.
func ExampleRetry() {
	policy := flow.DefaultPolicy
	policy.Base = time.Millisecond
	tries := 0
	call := func() error {
		if tries++; tries < 3 {
			return transfer.Errorf(transfer.CodeServer, "", "status %d", 503)
		}
		return nil
	}
	retry := flow.Retry{
		Policy: &policy, Verdict: transfer.RetryCall,
		OnFailure: func(err error, _ flow.Pause) { fmt.Println("failed:", err) },
	}
	err := retry.Run(context.Background(), call(), call)
	fmt.Println("tries:", tries, "error:", err)
	// Output:
	// failed: status 503
	// failed: status 503
	// tries: 3 error: <nil>
}

// Two chunks were read out of order. The Sequencer writes them in order.
func ExampleSequencer() {
	order, done := flow.NewSequencer(), make(chan struct{})
	go func() {
		defer close(done)
		_ = order.Do(context.Background(), 1, func() error {
			fmt.Println("write chunk 1")
			return nil
		})
	}()
	_ = order.Do(context.Background(), 0, func() error {
		fmt.Println("write chunk 0")
		return nil
	})
	<-done
	// Output:
	// write chunk 0
	// write chunk 1
}
