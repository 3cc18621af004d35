package transfertest

import "net/http"

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
