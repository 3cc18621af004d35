package transfertest

import (
	"net/http"
	"testing"
	"time"
)

// CutWriter aborts a response, and with it the connection, after Left bytes of its body.
type CutWriter struct {
	http.ResponseWriter
	Left int64
}

// Write implements http.ResponseWriter.
func (c *CutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.Left {
		_, _ = c.ResponseWriter.Write(p[:c.Left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.Left -= int64(len(p))
	return c.ResponseWriter.Write(p)
}

// Receive is the next value of a channel. It fails the test if none arrives within a minute; what
// names the value in the message.
func Receive[T any](t testing.TB, c <-chan T, what string) (value T) {
	t.Helper()
	select {
	case value = <-c:
	case <-time.After(time.Minute):
		t.Fatalf("got no %s within a minute", what)
	}
	return value
}
