// Package panics converts panics to errors: a panic in one job must not end all other jobs.
//
// A panic ends the process unless its own goroutine recovers it. So this package starts all
// goroutines and callbacks of the project, and converts a panic to an error with CodeInternal. The
// error names the line that panicked; the log of the goroutine's owner has the value and the stack:
//
//	wait := panics.Go(work, failed)              // instead of go work()
//	time.AfterFunc(d, panics.Func(work, failed)) // instead of time.AfterFunc(d, work)
//	group, ctx := panics.WithContext(ctx)        // instead of errgroup.WithContext
//
// TestNoOtherGoroutines refuses all other ways to start a goroutine. The package cannot recover a
// panic of a library in a goroutine of that library. If such a goroutine calls our code, as
// net/http does when it reads the body of a request, Catch, Writer or ReadCloser guards our code.
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

// Panic is a recovered panic. Its error text holds only the location of the panic, because the
// value may hold anything and the stack belongs in a log.
type Panic struct {
	Value    any
	Stack    []byte // of the goroutine, as debug.Stack formats it
	location string // file and line of the panic
}

func (p *Panic) Error() string { return "internal error at " + p.location }

// Of returns the panic in err's chain; nil if there is none.
func Of(err error) *Panic {
	var p *Panic
	errors.As(err, &p)
	return p
}

const hint = "this is a fault in transferd: report it with the log; " +
	"a job that is retried continues where it stopped"

// Catch calls f and returns its error. If f panics, it returns an error with CodeInternal whose
// chain has a *Panic.
func Catch(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &transfer.Error{
				Code: transfer.CodeInternal, Hint: hint,
				Err: &Panic{Value: v, Stack: debug.Stack(), location: location()},
			}
		}
	}()
	return f()
}

// location is the folder, file and line of the panic that is being recovered.
func location() string {
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
			return "an unknown location"
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

// NewGroup makes a group without a context.
func NewGroup() *Group { return &Group{new(errgroup.Group)} }

// WithContext is errgroup.WithContext.
func WithContext(ctx context.Context) (*Group, context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	return &Group{group}, ctx
}

// SetLimit bounds how many goroutines of the group run at once. It is called before Go, which then
// waits for a free one.
func (g *Group) SetLimit(n int) { g.group.SetLimit(n) }

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
