package panics_test

import (
	"fmt"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// A panic of the function becomes an error. Its text names the line, and not the value, which may
// hold anything.
func ExampleCatch() {
	var chunks []int
	err := panics.Catch(func() error {
		chunks[3] = 1
		return nil
	})
	fmt.Println(err)
	fmt.Println(transfer.CodeOf(err))
	fmt.Println(panics.Of(err).Value)
	// Output:
	// internal error at panics/example_test.go:15
	// internal
	// runtime error: index out of range [3] with length 0
}

// A goroutine reports its panic to a function. Who starts the goroutine waits for it.
func ExampleGo() {
	wait := panics.Go(
		func() { panic("a mistake") },
		func(err error) { fmt.Println("failed:", transfer.CodeOf(err)) },
	)
	wait()
	fmt.Println("the program continues")
	// Output:
	// failed: internal
	// the program continues
}
