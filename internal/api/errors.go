package api

import (
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

// maxMessage bounds what of an endpoint's words is shown, in bytes.
const maxMessage = 300

// meanings is what statuses and failures mean on an endpoint (manual 5).
var meanings = transport.Meanings{
	Statuses: map[int]transport.Meaning{
		http.StatusBadRequest: {
			Code: transfer.CodeRefused,
			Hint: "the endpoint says what it did not like",
		},
		http.StatusUnauthorized: {
			Code: transfer.CodeUnauthorized,
			Hint: "check the endpoint's user and password; transferctl endpoints check tries them",
		},
		http.StatusNotFound: {
			Code: transfer.CodeNotFound,
			Hint: "transferctl drives list shows the drives there are",
		},
		http.StatusConflict: {
			Code: transfer.CodeConflict,
			Hint: "the drive is busy: being cloned, or in use by a running server",
		},
		http.StatusTooManyRequests: {
			Code: transfer.CodeThrottled,
			Hint: "lower the endpoint's max_in_flight",
		},
		http.StatusInsufficientStorage: {
			Code: transfer.CodeRefused,
			Hint: "the endpoint has no room left",
		},
	},
	Unexpected: notAPI,
	Failures: map[transfer.Code]string{
		transfer.CodeUntrusted:   "for a private authority set the endpoint's ca_file",
		transfer.CodeProtocol:    "does the endpoint speak https at this port?",
		transfer.CodeUnreachable: "check the endpoint's url and the network",
	},
}

const notAPI = "is this an endpoint of API 1.0? check its url in the config"

// meaningOf is what a status means together with what the endpoint says: a 400 that says so means
// the same as 404 or 409 (manual 7.5, 7.6 against 5).
func meaningOf(status int, message string) transport.Meaning {
	if status == http.StatusBadRequest {
		switch {
		case strings.Contains(message, "could not be found"):
			status = http.StatusNotFound
		case strings.Contains(message, "currently in use"):
			status = http.StatusConflict
		}
	}
	return meanings.Status(status)
}

// tooLarge is what a 413 becomes, whoever says it: mostly it is a proxy on the way, with a page of
// its own.
func tooLarge(sent int) error {
	smaller := int64(transfer.MinChunkSize)
	for 2*smaller < int64(sent) {
		smaller *= 2
	}
	return transfer.Errorf(transfer.CodeRefused,
		"begin a new job with smaller chunks, such as --chunk-size "+transfer.FormatSize(smaller)+
			", or raise the proxy's limit",
		"413: the endpoint, or a proxy before it, takes no body of %d bytes", sent)
}

// statusError is what an answer that is no success to a request with a body of so many bytes
// becomes.
func statusError(resp *http.Response, body []byte, sent int) error {
	message := clean(body)
	m := meaningOf(resp.StatusCode, message)
	if resp.StatusCode == http.StatusRequestEntityTooLarge {
		return tooLarge(sent)
	}
	if looksForeign(body) {
		message = "a page that is not API 1.0's"
		// One that says "later" may be from a proxy on the way.
		if m.Code != transfer.CodeUnauthorized && m.Code.Retry() == transfer.RetryNever {
			m = transport.Meaning{Code: transfer.CodeProtocol, Hint: notAPI}
		}
	}
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		message = "redirected"
		m = transport.Meaning{
			Code: transfer.CodeProtocol,
			Hint: "redirects are not followed, so that credentials go nowhere else; set the url that is meant",
		}
	}
	if message != "" {
		message = ": " + message
	}
	status := resp.StatusCode
	err := fmt.Errorf("the endpoint answered %d %s%s", status, http.StatusText(status), message)
	if status >= 300 && status < 500 && status != http.StatusRequestTimeout {
		err = transfer.NotCarriedOut(err)
	}
	return m.ResponseError(resp.Header, err)
}

// clean makes an endpoint's words fit for a terminal: one line, no control characters, not too long, and without the
// `errors:` before each (manual 5).
func clean(body []byte) string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(body[:min(len(body), 4*maxMessage)]), ""))
	s = strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "errors:", "")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}

// looksForeign reports whether text is HTML or JSON, which API 1.0 never answers.
func looksForeign(text []byte) bool {
	s := strings.TrimLeft(string(text[:min(len(text), 64)]), " \t\r\n\ufeff")
	return strings.HasPrefix(s, "<") || strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[")
}
