package api

import (
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

// maxMessage bounds the part of an endpoint's message that is shown, in bytes.
const maxMessage = 300

// meanings maps statuses and failures of an endpoint to errors (manual 5).
var meanings = transport.Meanings{
	Statuses: map[int]transport.Meaning{
		http.StatusBadRequest: {
			Code: transfer.CodeRefused,
			Hint: "the endpoint's message says what is wrong",
		},
		http.StatusUnauthorized: {
			Code: transfer.CodeUnauthorized,
			Hint: "check the endpoint's user and password; transferctl endpoints check tries them",
		},
		http.StatusNotFound: {
			Code: transfer.CodeNotFound,
			Hint: "transferctl drives list shows the existing drives",
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
			Hint: "the endpoint has no space left",
		},
	},
	Unexpected: hintNotAPI,
	Failures: map[transfer.Code]string{
		transfer.CodeUntrusted:   "for a private authority set the endpoint's ca_file",
		transfer.CodeProtocol:    "does the endpoint speak https at this port?",
		transfer.CodeUnreachable: "check the endpoint's url and the network",
	},
}

const hintNotAPI = "is this an endpoint of API 1.0? check its url in the config"

// meaningOf is the meaning of a status with its message: a 400 may have the message of a 404 or
// 409, and then means the same (manual 7.5, 7.6 against 5).
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

// tooLarge is the error of a 413. Usually a proxy sends it, with a page of its own.
func tooLarge(sent int) error {
	smaller := int64(transfer.MinChunkSize)
	for 2*smaller < int64(sent) {
		smaller *= 2
	}
	return transfer.Errorf(transfer.CodeRefused,
		"begin a new job with smaller chunks, such as --chunk-size "+transfer.FormatSize(smaller)+
			", or raise the proxy's limit",
		"413: the endpoint, or a proxy before it, accepts no body of %d bytes", sent)
}

// statusError is the error of a response without success. body is that of the response; sent is the
// size of the request's body, in bytes.
func statusError(resp *http.Response, body []byte, sent int) error {
	message := singleLine(body)
	m := meaningOf(resp.StatusCode, message)
	if resp.StatusCode == http.StatusRequestEntityTooLarge {
		return tooLarge(sent)
	}
	if isHTMLOrJSON(body) {
		message = "a page that is not API 1.0's"
		// A status that a retry may help may come from a proxy.
		if m.Code != transfer.CodeUnauthorized && m.Code.Retry() == transfer.RetryNever {
			m = transport.Meaning{Code: transfer.CodeProtocol, Hint: hintNotAPI}
		}
	}
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		message = "redirected"
		m = transport.Meaning{
			Code: transfer.CodeProtocol,
			Hint: "redirects are not followed, to protect the credentials: set url to the final address",
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

// singleLine makes an endpoint's message safe for a terminal: one line without control characters,
// not too long, and without the `errors:` before each message (manual 5).
func singleLine(body []byte) string {
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

// isHTMLOrJSON reports whether text is HTML or JSON, which API 1.0 never sends.
func isHTMLOrJSON(text []byte) bool {
	s := strings.TrimLeft(string(text[:min(len(text), 64)]), " \t\r\n\ufeff")
	return strings.HasPrefix(s, "<") || strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[")
}
