package image

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

func (r *remote) errNoURL() error {
	// The error of url.Parse repeats the URL, and with it what may be secret.
	return invalid("open "+r.name, "write it as http://HOST/PATH", "this is not a URL")
}

func (r *remote) failure(code transfer.Code, hint string, err error) error {
	return &transfer.Error{Op: "fetch " + r.name, Code: code, Hint: hint, Err: err}
}

// meanings is what statuses and failures mean for an image behind a URL. Credentials come with the
// URL alone, so 401 and 403 are the same to a user.
var meanings = transport.Meanings{
	Statuses: map[int]transport.Meaning{
		http.StatusUnauthorized: {Code: transfer.CodeForbidden, Hint: hintForbidden},
		http.StatusForbidden:    {Code: transfer.CodeForbidden, Hint: hintForbidden},
		http.StatusNotFound:     {Code: transfer.CodeNotFound, Hint: "check the URL"},
		http.StatusGone:         {Code: transfer.CodeNotFound, Hint: "check the URL"},
	},
	Failures: map[transfer.Code]string{
		transfer.CodeUntrusted:   "install the server's CA on this host, or fetch the image by hand",
		transfer.CodeProtocol:    "write http:// for a server without TLS",
		transfer.CodeUnreachable: "check the host's name, and the network and proxy of the host that runs the job",
	},
}

const hintForbidden = "does the URL need a user and password, or has it expired?"

// callError makes an error of a request, or of reading its response, one for users.
func (resp *response) callError(err error) error {
	err = meanings.Failure(resp.ctx, err)
	var known *transfer.Error
	if errors.As(err, &known) { // what wraps it repeats the URL, which may hold secrets
		return resp.remote.failure(known.Code, known.Hint, known.Err)
	}
	return err
}

// statusError is what a status that brings no image means.
func (resp *response) statusError() error {
	if resp.status == http.StatusRequestedRangeNotSatisfiable && resp.header.Get("Content-Range") == "bytes */0" {
		return errEmpty("open " + resp.remote.name)
	}
	err := fmt.Errorf("the server answers %d %s", resp.status, http.StatusText(resp.status))
	e := meanings.Status(resp.status).Answered(resp.header, err)
	e.Op = "fetch " + resp.remote.name
	return e
}
