// Package panics keeps a panic from ending the process: one in a job must not end all other jobs.
//
// A panic ends the process unless its own goroutine recovers it. So this package starts all
// goroutines and callbacks of the project, and converts a panic to an error with CodeInternal.
// TestNoOtherGoroutines refuses any other go statement. This package cannot recover a panic of a
// library in a goroutine of that library. Where such a goroutine calls our code, as when net/http
// reads a request's body, Catch guards our code.
package panics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/transferd/transferd/internal/transfer"
)

// Panic is a recovered panic. Its error text holds only the place of the panic, because the value
// may hold anything and the stack belongs in a log.
type Panic struct {
	Value any
	Stack []byte // of the goroutine, as debug.Stack formats it
	place string // file and line of the panic
}

func (p *Panic) Error() string { return "internal error at " + p.place }

// Of returns the panic in err's chain; nil if there is none.
func Of(err error) *Panic {
	var p *Panic
	errors.As(err, &p)
	return p
}

const hint = "this is a fault in transferd: report it with what the log says; " +
	"a job that is retried goes on where it stopped"

// Catch calls f and returns its error. If f panics, it returns an error with CodeInternal whose
// chain has a *Panic.
func Catch(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &transfer.Error{
				Code: transfer.CodeInternal, Hint: hint,
				Err: &Panic{Value: v, Stack: debug.Stack(), place: place()},
			}
		}
	}()
	return f()
}

// place is the folder, file and line of the panic that is being recovered.
func place() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs)])
	panicking := false
	for {
		f, more := frames.Next()
		switch inRuntime := strings.HasPrefix(f.Function, "runtime."); {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && !inRuntime: // after the runtime's own functions that panic, as for a nil pointer
			return fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(f.File)), filepath.Base(f.File), f.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}

// Func wraps f for a caller that runs it in another goroutine, as timers do: if f panics, failed is
// called with the error.
func Func(f func(), failed func(error)) func() {
	return func() {
		if err := Catch(func() error { f(); return nil }); err != nil {
			failed(err)
		}
	}
}

// Go calls f in a goroutine. If f panics, failed is called there with the error. wait returns when
// f and failed have returned. Several goroutines may call wait.
func Go(f func(), failed func(error)) (wait func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Func(f, failed)()
	}()
	return func() { <-ended }
}

// Group is an errgroup.Group in which a panic is an error like any other.
type Group struct{ group *errgroup.Group }

// NewGroup is a group without a context.
func NewGroup() *Group { return &Group{new(errgroup.Group)} }

// WithContext is errgroup.WithContext.
func WithContext(ctx context.Context) (*Group, context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	return &Group{group}, ctx
}

// Go calls f in a goroutine. The first error, or panic, ends the group's context.
func (g *Group) Go(f func() error) { g.group.Go(func() error { return Catch(f) }) }

// Wait waits for all goroutines of the group and returns the first error.
func (g *Group) Wait() error { return g.group.Wait() }

// Writer wraps w for a library that writes in its own goroutine: a panic of w becomes an error of
// Write.
func Writer(w io.Writer) io.Writer { return writer{w} }

type writer struct{ w io.Writer }

func (g writer) Write(p []byte) (n int, err error) {
	err = Catch(func() (err error) {
		n, err = g.w.Write(p)
		return err
	})
	return n, err
}

// ReadCloser wraps r for a library that reads in its own goroutine: a panic of r becomes an error.
func ReadCloser(r io.ReadCloser) io.ReadCloser { return readCloser{r} }

type readCloser struct{ r io.ReadCloser }

func (g readCloser) Read(p []byte) (n int, err error) {
	err = Catch(func() (err error) {
		n, err = g.r.Read(p)
		return err
	})
	return n, err
}

func (g readCloser) Close() error { return Catch(g.r.Close) }
