package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Code says what kind of failure an Error is. It is part of the users' contract: a job's JSON has
// it, and it decides the exit status.
type Code string

// The codes, each with its exit status, HTTP status and retry verdict in the table below.
const (
	CodeInvalid       Code = "invalid"        // the request cannot be carried out as written
	CodeExists        Code = "exists"         // the target exists already
	CodeForbidden     Code = "forbidden"      // outside the roots, or no permission
	CodeUnreachable   Code = "unreachable"    // no connection to the endpoint or queue
	CodeUntrusted     Code = "untrusted"      // the TLS certificate did not verify
	CodeUnauthorized  Code = "unauthorized"   // 401
	CodeMismatch      Code = "mismatch"       // the stored bytes differ from the expected ones
	CodeNotFound      Code = "not_found"      // no such job, drive or file
	CodeCanceled      Code = "canceled"       // the user canceled the job
	CodeWaitTimeout   Code = "wait_timeout"   // the wait ended, the job continues
	CodeConflict      Code = "conflict"       // 409: the drive is busy
	CodeInUse         Code = "in_use"         // a running server holds the drive
	CodeTimeout       Code = "timeout"        // 504, or no progress
	CodeThrottled     Code = "throttled"      // 429
	CodeServer        Code = "server"         // 500 and other 5xx
	CodeNetwork       Code = "network"        // a connection was cut, or a response was short
	CodeProtocol      Code = "protocol"       // the other side violates API 1.0
	CodeRefused       Code = "refused"        // 400, 403 or 405 from the endpoint
	CodeSourceChanged Code = "source_changed" // the source has changed since the job began
	CodeNoSpace       Code = "no_space"       // target's disk, account's allowance or queue's memory is full
	CodeWorkerLost    Code = "worker_lost"    // too many workers died while they ran this job
	CodeFenced        Code = "fenced"         // another worker has taken the job over
	CodeDrained       Code = "drained"        // returned to the queue because the worker stops
	CodeDeadline      Code = "deadline"       // the --deadline has passed
	CodeInternal      Code = "internal"       // a fault in transferd itself: a panic
	CodeFailed        Code = "failed"         // anything else
)

// Retry says whether a failure may be retried, and at what level.
type Retry int

// The verdicts on a failure.
const (
	RetryNever Retry = iota // report it and stop
	RetryDrive              // the drive as a whole is not ready: hold back all calls to it
	RetryCall               // repeat this call alone
)

type codeInfo struct {
	exit  int
	http  int
	retry Retry
}

var codes = map[Code]codeInfo{
	CodeInvalid:       {2, http.StatusBadRequest, RetryNever},
	CodeExists:        {2, http.StatusConflict, RetryNever},
	CodeForbidden:     {2, http.StatusForbidden, RetryNever},
	CodeUnreachable:   {3, http.StatusBadGateway, RetryCall},
	CodeUntrusted:     {3, http.StatusBadGateway, RetryNever},
	CodeUnauthorized:  {4, http.StatusUnauthorized, RetryNever},
	CodeMismatch:      {5, http.StatusConflict, RetryNever},
	CodeNotFound:      {6, http.StatusNotFound, RetryNever},
	CodeCanceled:      {7, http.StatusConflict, RetryNever},
	CodeWaitTimeout:   {8, http.StatusGatewayTimeout, RetryNever},
	CodeConflict:      {1, http.StatusConflict, RetryDrive},
	CodeInUse:         {1, http.StatusConflict, RetryNever},
	CodeTimeout:       {1, http.StatusGatewayTimeout, RetryCall},
	CodeThrottled:     {1, http.StatusTooManyRequests, RetryCall},
	CodeServer:        {1, http.StatusBadGateway, RetryCall},
	CodeNetwork:       {1, http.StatusBadGateway, RetryCall},
	CodeProtocol:      {1, http.StatusBadGateway, RetryNever},
	CodeRefused:       {1, http.StatusBadGateway, RetryNever},
	CodeSourceChanged: {1, http.StatusConflict, RetryNever},
	CodeNoSpace:       {1, http.StatusInsufficientStorage, RetryNever},
	CodeWorkerLost:    {1, http.StatusInternalServerError, RetryNever},
	CodeFenced:        {1, http.StatusConflict, RetryNever},
	CodeDrained:       {1, http.StatusServiceUnavailable, RetryNever},
	CodeDeadline:      {1, http.StatusGatewayTimeout, RetryNever},
	CodeInternal:      {1, http.StatusInternalServerError, RetryNever},
	CodeFailed:        {1, http.StatusInternalServerError, RetryNever},
}

// ExitStatus returns the exit status of a program that ends with c; 0 for the empty code.
func (c Code) ExitStatus() int {
	if c == "" {
		return 0
	}
	return c.info().exit
}

// HTTPStatus returns the status of an HTTP response that reports c.
func (c Code) HTTPStatus() int { return c.info().http }

// Retry returns whether and at what level a failure with c may be retried.
func (c Code) Retry() Retry { return c.info().retry }

func (c Code) info() codeInfo {
	if i, ok := codes[c]; ok {
		return i
	}
	return codes[CodeFailed]
}

// Error is a failure as users see it: what was tried, what kind of failure it is, and what to do.
type Error struct {
	Op         string        // what was tried, as verb and object: "write chunk 7"
	Code       Code          // never empty
	Hint       string        // what the user can do; may be empty
	Offset     *int64        // where in the image, bytes; nil: it concerns no offset
	RetryAfter time.Duration // the wait that the other side asked for; 0: none
	Err        error         // the cause; never empty
}

// ErrLost is in the chain of an error of a target that may have lost earlier writes, whatever reads
// of it return: a kernel reports a failed write to the disk only once. The next attempt starts
// over.
var ErrLost = errors.New("what was written may be lost")

// ErrNotCarriedOut matches (errors.Is) the error of a call that the other side has rejected without
// any effect, whatever the error's code.
var ErrNotCarriedOut = errors.New("not carried out")

// NotCarriedOut returns err so that it also matches ErrNotCarriedOut. Its text stays.
func NotCarriedOut(err error) error { return notCarriedOut{err} }

type notCarriedOut struct{ error }

func (e notCarriedOut) Unwrap() error { return e.error }

func (notCarriedOut) Is(target error) bool { return target == ErrNotCarriedOut }

// ErrWrongImage is in the chain of an error of a source whose image is not the one that a digest or
// a manifest describes. No later attempt can complete a target with it.
var ErrWrongImage = errors.New("it is not the intended image")

// MayBeCarriedOut reports whether a call that failed with err may have had an effect all the same:
// there was no response, or one that does not exclude it. It is false for nil.
func MayBeCarriedOut(err error) bool {
	if errors.Is(err, ErrNotCarriedOut) {
		return false
	}
	switch CodeOf(err) {
	case CodeInvalid, CodeExists, CodeNotFound, CodeConflict, CodeInUse, CodeUnreachable, CodeUntrusted,
		CodeUnauthorized, CodeForbidden, CodeThrottled, CodeRefused:
		return false
	}
	return err != nil
}

// ErrFinished is in the chain of an error of a target that has changed since the job completed it.
// No later attempt of the job writes the target.
var ErrFinished = errors.New("an earlier run of the job finished it")

// maxRetryAfter bounds the wait that an endpoint can ask for.
const maxRetryAfter = time.Hour

// ParseRetryAfter parses a Retry-After header, which is seconds or a date (RFC 9110, 10.2.3). It
// returns the wait from now, at most an hour; 0 for any other text.
func ParseRetryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(s); err == nil || errors.Is(err, strconv.ErrRange) {
		return min(time.Duration(max(n, 0)), maxRetryAfter/time.Second) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

func (e *Error) Error() string {
	if e.Op == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s: %v", e.Op, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error without an Op. format takes the verbs of fmt.Errorf, %w included.
func Errorf(code Code, hint, format string, args ...any) *Error {
	return &Error{Code: code, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// CodeOf returns the code of the outermost Error in err's chain; CodeCanceled for a canceled
// context, CodeFailed for any other error and "" for nil.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.Canceled):
		return CodeCanceled
	}
	return CodeFailed
}

// Failure is an error as a job's record and its JSON have it.
type Failure struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Offset  *int64 `json:"offset,omitempty"` // bytes
}

// FailureOf returns err as a Failure; nil for nil.
func FailureOf(err error) *Failure {
	if err == nil {
		return nil
	}
	f := &Failure{Code: CodeOf(err), Message: err.Error()}
	var e *Error
	if errors.As(err, &e) {
		f.Hint, f.Offset = e.Hint, e.Offset
	}
	return f
}

// Err returns an error with the failure's code, message, hint and offset; nil for nil.
func (f *Failure) Err() error {
	if f == nil {
		return nil
	}
	return &Error{Code: f.Code, Hint: f.Hint, Offset: f.Offset, Err: errors.New(f.Message)}
}
