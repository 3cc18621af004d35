package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestExitStatusesAreStable: users rely on them.
func TestExitStatusesAreStable(t *testing.T) {
	want := map[Code]int{
		"": 0, CodeInvalid: 2, CodeExists: 2, CodeForbidden: 2, CodeUnreachable: 3, CodeUntrusted: 3,
		CodeUnauthorized: 4, CodeMismatch: 5, CodeNotFound: 6, CodeCanceled: 7, CodeWaitTimeout: 8,
		CodeConflict: 1, CodeInUse: 1, CodeTimeout: 1, CodeThrottled: 1, CodeServer: 1, CodeNetwork: 1, CodeProtocol: 1,
		CodeRefused: 1, CodeSourceChanged: 1, CodeNoSpace: 1, CodeWorkerLost: 1, CodeFenced: 1, CodeDrained: 1,
		CodeDeadline: 1, CodeInternal: 1, CodeFailed: 1, "of a later version": 1,
	}
	for code, status := range want {
		if got := code.ExitStatus(); got != status {
			t.Errorf("%q: got exit status %d, want %d", code, got, status)
		}
	}
	for code := range codes {
		if _, ok := want[code]; !ok {
			t.Errorf("%q is not in this table, want every code", code)
		}
		if s := code.HTTPStatus(); s < 400 || s > 599 {
			t.Errorf("%q: got HTTP status %d, want 400 to 599", code, s)
		}
	}
}

// TestOnlyTemporaryFailuresAreRetried: all others, and unknown codes, are final.
func TestOnlyTemporaryFailuresAreRetried(t *testing.T) {
	want := map[Code]Retry{
		CodeConflict: RetryDrive,
		CodeTimeout:  RetryCall, CodeThrottled: RetryCall, CodeServer: RetryCall, CodeNetwork: RetryCall,
		CodeUnreachable: RetryCall,
	}
	for code := range codes {
		if got := code.Retry(); got != want[code] {
			t.Errorf("%q: got verdict %d, want %d", code, got, want[code])
		}
	}
	if Code("").Retry() != RetryNever || Code("of a later version").Retry() != RetryNever {
		t.Error("no code or an unknown one: got another verdict than RetryNever")
	}
}

// TestCodeOfIsThatOfTheOutermostError, even if a context was canceled below it.
func TestCodeOfIsThatOfTheOutermostError(t *testing.T) {
	inner := Errorf(CodeServer, "", "500")
	for _, tc := range []struct {
		err  error
		want Code
	}{
		{nil, ""},
		{io.EOF, CodeFailed},
		{context.Canceled, CodeCanceled},
		{fmt.Errorf("read: %w", context.Canceled), CodeCanceled},
		{context.DeadlineExceeded, CodeFailed},
		{fmt.Errorf("read: %w", inner), CodeServer},
		{&Error{Op: "write", Code: CodeConflict, Err: inner}, CodeConflict},
		{&Error{Code: CodeNetwork, Err: context.Canceled}, CodeNetwork},
		{errors.Join(io.EOF, inner), CodeServer},
	} {
		if got := CodeOf(tc.err); got != tc.want {
			t.Errorf("CodeOf(%v) = %q, want %q", tc.err, got, tc.want)
		}
	}
}

// TestErrorTextHasOperationAndCause, and errors.Is finds the cause.
func TestErrorTextHasOperationAndCause(t *testing.T) {
	e := &Error{Op: "write chunk 7", Code: CodeServer, Err: Errorf(CodeNetwork, "", "cut after %d bytes", 3)}
	if got, want := e.Error(), "write chunk 7: cut after 3 bytes"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(&Error{Code: CodeFailed, Err: io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF) {
		t.Error("errors.Is does not find the cause, want that it does")
	}
}

// TestFailureKeepsTheError: code, message, hint and offset, 0 included.
func TestFailureKeepsTheError(t *testing.T) {
	if FailureOf(nil) != nil || (*Failure)(nil).Err() != nil {
		t.Error("nil: got a failure or an error, want nil")
	}
	off := int64(4096)
	f := FailureOf(fmt.Errorf("run: %w", &Error{
		Op: "verify chunk 1", Code: CodeMismatch, Hint: "look", Offset: &off, Err: io.EOF,
	}))
	want := `{"code":"mismatch","message":"run: verify chunk 1: EOF","hint":"look","offset":4096}`
	b, err := json.Marshal(f)
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v; want %s", b, err, want)
	}
	back := FailureOf(f.Err())
	if back.Code != f.Code || back.Message != f.Message || back.Hint != f.Hint || *back.Offset != off {
		t.Errorf("back from an error: got %+v, want %+v", back, f)
	}
	zero := int64(0)
	want = `{"code":"mismatch","message":"EOF","offset":0}`
	b, err = json.Marshal(FailureOf(&Error{Code: CodeMismatch, Offset: &zero, Err: io.EOF}))
	if err != nil || string(b) != want {
		t.Errorf("offset 0: got %s, %v; want %s", b, err, want)
	}
}

// TestRetryAfterIsAtMostAnHour: in seconds or as a date, and 0 for any other text.
func TestRetryAfterIsAtMostAnHour(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-5": 0, "soon": 0, "1.5": 0,
		"999999999999": time.Hour, "99999999999999999999": time.Hour, "86400": time.Hour,
		now.Add(30 * time.Second).Format(http.TimeFormat): 30 * time.Second,
		now.Add(-time.Minute).Format(http.TimeFormat):     0,
	} {
		if got := ParseRetryAfter(header, now); got != want {
			t.Errorf("Retry-After: %s: got %s, want %s", header, got, want)
		}
	}
}

// TestOnlyARefusalExcludesAnEffect: after a lost response or a server error the call may have been
// carried out; after a refusal or without a connection it was not.
func TestOnlyARefusalExcludesAnEffect(t *testing.T) {
	for code, want := range map[Code]bool{
		CodeTimeout: true, CodeServer: true, CodeNetwork: true, CodeProtocol: true, CodeCanceled: true,
		CodeFailed: true, CodeUnreachable: false, CodeUnauthorized: false, CodeRefused: false, CodeNotFound: false,
		CodeConflict: false, CodeThrottled: false, CodeInvalid: false,
	} {
		err := Errorf(code, "", "a call")
		if got := MayBeCarriedOut(err); got != want {
			t.Errorf("%s: got %t, want %t", code, got, want)
		}
		if MayBeCarriedOut(NotCarriedOut(err)) {
			t.Errorf("%s and ErrNotCarriedOut: got true, want false", code)
		}
	}
	if MayBeCarriedOut(nil) {
		t.Error("nil: got true, want false")
	}
}
