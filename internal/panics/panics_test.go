package panics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// raise panics as a fault in the code does.
func raise() error {
	var entries []int
	return errors.New(string(rune(entries[7])))
}

// wantPanic checks that err is of raise.
func wantPanic(t *testing.T, err error) {
	t.Helper()
	p := Of(err)
	if p == nil || transfer.CodeOf(err) != transfer.CodeInternal {
		t.Fatalf("got %v, want a panic", err)
	}
	if !bytes.Contains(p.Stack, []byte("panics.raise")) || !strings.Contains(err.Error(), "panics/panics_test.go:17") {
		t.Errorf("got %v, want the line of raise, and raise in the stack\n%s", err, p.Stack)
	}
	if f := transfer.FailureOf(err); strings.Contains(f.Message+f.Hint, "goroutine") || f.Hint == "" {
		t.Errorf("got the failure %+v, want one with a hint and without the stack", f)
	}
}

// TestCatchReturnsPanicsAsErrors: errors pass unchanged, and a panic becomes an error, also if its
// value is an error.
func TestCatchReturnsPanicsAsErrors(t *testing.T) {
	if err := Catch(func() error { return io.EOF }); err != io.EOF { //nolint:errorlint // as it is
		t.Errorf("got %v, want %v", err, io.EOF)
	}
	wantPanic(t, Catch(raise))
	if err := Catch(func() error { panic(context.Canceled) }); errors.Is(err, context.Canceled) || Of(err) == nil {
		t.Errorf("got %v, want a panic that does not unwrap to its value", err)
	}
}

// TestGoReportsThePanic: a panic is reported before wait returns.
func TestGoReportsThePanic(t *testing.T) {
	var got error
	Go(func() { _ = raise() }, func(err error) { got = err })()
	wantPanic(t, got)
	Go(func() {}, func(err error) { t.Errorf("without a panic: got %v", err) })()
}

// TestGroupEndsWithAPanic: a panic ends the group's context, as an error does.
func TestGroupEndsWithAPanic(t *testing.T) {
	g, ctx := WithContext(t.Context())
	g.Go(raise)
	g.Go(func() error {
		<-ctx.Done()
		return ctx.Err()
	})
	wantPanic(t, g.Wait())
	wantPanic(t, context.Cause(ctx))
}

type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, raise() }
func (broken) Write([]byte) (int, error) { return 0, raise() }
func (broken) Close() error              { return raise() }

// TestPanicsOfReadersAndWritersAreErrors: panics of wrapped readers and writers become errors.
func TestPanicsOfReadersAndWritersAreErrors(t *testing.T) {
	_, err := Writer(broken{}).Write(nil)
	wantPanic(t, err)
	_, err = ReadCloser(broken{}).Read(nil)
	wantPanic(t, err)
	wantPanic(t, ReadCloser(broken{}).Close())
}
