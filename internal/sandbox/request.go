package sandbox

import (
	"errors"
	"io"
	"net/http"
)

// maxInput is the longest body of a command other than write, in bytes.
const maxInput = 64 << 10

// request is a request that is being handled, with its response.
type request struct {
	w http.ResponseWriter
	r *http.Request

	command    *command
	parameters map[string]string // of the command's pattern, with their values in the path

	body       io.Reader // of the request, through the injected faults
	out        io.Writer // the body of the response, through the injected faults
	fault      injectedFault
	headerSent bool // of the response
}

func newRequest(w http.ResponseWriter, r *http.Request) *request {
	req := &request{w: w, r: r, out: w, body: http.NoBody, fault: injectedFault{kind: noFault}}
	if r.Body != nil {
		req.body = r.Body
	}
	return req
}

// input reads the key/value body of a command.
func (req *request) input() (object, error) {
	if err := req.refuseChunked(); err != nil {
		return nil, err
	}
	tooLong := statusErrorf(http.StatusRequestEntityTooLarge, "system", "The input is longer than %d bytes.", maxInput)
	if req.r.ContentLength > maxInput {
		return nil, tooLong
	}
	text, err := io.ReadAll(io.LimitReader(req.body, maxInput+1))
	switch {
	case errors.Is(err, errCut):
		return nil, err
	case err != nil:
		return nil, statusErrorf(http.StatusBadRequest, "system", "The input ended early.")
	case len(text) > maxInput:
		return nil, tooLong
	}
	return decode(text), nil
}

// refuseChunked refuses chunked transfer, which is not supported (manual 7.2).
func (req *request) refuseChunked() error {
	if len(req.r.TransferEncoding) == 0 && req.r.ContentLength >= 0 {
		return nil
	}
	err := statusErrorf(http.StatusBadRequest, "system",
		"Chunked transfer (Transfer-Encoding) is not supported; send a Content-Length.")
	err.close = true
	return err
}
