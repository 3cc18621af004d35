package image

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

func (r *remote) errNoURL() error {
	// The error of url.Parse contains the URL, which may hold secrets.
	return invalid("open "+r.name, "write it as http://HOST/PATH", "this is not a URL")
}

func (r *remote) failure(code transfer.Code, hint string, err error) error {
	return &transfer.Error{Op: "fetch " + r.name, Code: code, Hint: hint, Err: err}
}

// meanings maps statuses and failures to errors of an image behind a URL. Servers of files use 401
// and 403 for the same, so they mean the same to a user.
var meanings = transport.Meanings{
	Statuses: map[int]transport.Meaning{
		http.StatusBadRequest:   {Code: transfer.CodeRefused, Hint: hintForbidden},
		http.StatusUnauthorized: {Code: transfer.CodeForbidden, Hint: hintForbidden},
		http.StatusForbidden:    {Code: transfer.CodeForbidden, Hint: hintForbidden},
		http.StatusNotFound:     {Code: transfer.CodeNotFound, Hint: "check the URL"},
		http.StatusGone:         {Code: transfer.CodeNotFound, Hint: "check the URL"},
		// A retry does not help.
		http.StatusNotImplemented: {Code: transfer.CodeRefused, Hint: "fetch the image by hand, and give the file"},
	},
	Failures: map[transfer.Code]string{
		transfer.CodeUntrusted:   "install the server's CA on this host, or fetch the image by hand",
		transfer.CodeProtocol:    "write http:// for a server without TLS",
		transfer.CodeUnreachable: "check the host's name, and the network and proxy of the host that runs the job",
	},
}

const hintForbidden = "does the URL need a user and password, or a header (url_credentials of the config, over " +
	"https; --header-env with --local)? if it was signed for a limited time, it may have expired: " +
	"start a job with a new one that lasts longer, or fetch the image by hand and give the file"

// errPage is the error of a page with a success status in place of the image: a gateway fails, or
// the address has expired.
var errPage = errors.New("the server sends a page in place of the image")

// statusError is the status of a response without an image.
type statusError int

func (s statusError) Error() string {
	return fmt.Sprintf("the server responds with %d %s", int(s), http.StatusText(int(s)))
}

// statusOf is the status in err's chain; 0 if there is none.
func statusOf(err error) int {
	var s statusError
	errors.As(err, &s)
	return int(s)
}

// rangeRefused reports whether err is the status of a server that refuses ranges but may send the
// whole image: 416 and 501, but also 400 and 403, which gateways use for that.
func rangeRefused(err error) bool {
	switch status := statusOf(err); status {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusRequestTimeout, http.StatusGone,
		http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	default:
		return status >= 400 && status < 500 || status == http.StatusNotImplemented
	}
}

// callError turns an error of a request, or of reading its response, into an error for users.
func (resp *response) callError(err error) error {
	err = meanings.Failure(resp.ctx, err)
	var known *transfer.Error
	if errors.As(err, &known) { // the wrapping errors contain the URL, which may hold secrets
		return resp.remote.failure(known.Code, known.Hint, known.Err)
	}
	return err
}

// refused is the error of a status other than 200 and 206.
func (resp *response) refused() error {
	if resp.status == http.StatusRequestedRangeNotSatisfiable && resp.header.Get("Content-Range") == "bytes */0" {
		return errEmpty("open " + resp.remote.name)
	}
	e := meanings.Status(resp.status).ResponseError(resp.header, statusError(resp.status))
	e.Op = "fetch " + resp.remote.name
	return e
}
