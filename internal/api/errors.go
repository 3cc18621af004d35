package api

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
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
			Hint: "check the path of the call, and what it names",
		},
		http.StatusMethodNotAllowed: {
			Code: transfer.CodeRefused,
			Hint: "the call needs keys and values: transferctl api -c sends those of standard input",
		},
		http.StatusConflict: {
			Code: transfer.CodeConflict,
			Hint: "it is in use: by a running server, or while it is cloned",
		},
		http.StatusTooManyRequests: {
			Code: transfer.CodeThrottled,
			Hint: "lower the endpoint's max_in_flight",
		},
		http.StatusPaymentRequired: {
			Code: transfer.CodeNoSpace,
			Hint: "destroy what the account does not need, or raise what it may use: by a subscription or with money",
		},
		http.StatusInsufficientStorage: {
			Code: transfer.CodeNoSpace,
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

// usedUp matches the message of a call that is refused because the account may use no more, or has
// no money. The manual has no status for that; the parent API has 402.
var usedUp = regexp.MustCompile(`(?i)quota|balance|insufficient|not enough|funds|money|credit|subscribe`)

// meaningOf is the meaning of a status with its message, for a call about k; k may be nil. A 400
// may have the message of a 402, 404 or 409, and then means the same (manual 7.5, 7.6 against 5).
func meaningOf(status int, message string, k *kind) transport.Meaning {
	uses := k == driveKind || k == serverKind
	if uses && status == http.StatusForbidden && usedUp.MatchString(message) {
		status = http.StatusPaymentRequired
	}
	if status == http.StatusBadRequest {
		switch {
		case strings.Contains(message, "could not be found"), strings.Contains(message, "Missing resource"):
			status = http.StatusNotFound
		case strings.Contains(message, "currently in use"):
			status = http.StatusConflict
		case uses && usedUp.MatchString(message):
			status = http.StatusPaymentRequired
		}
	}
	m := meanings.Status(status)
	switch {
	case k == nil:
	case status == http.StatusNotFound:
		m.Hint = cmp.Or(k.missing, m.Hint)
	case status == http.StatusConflict:
		m.Hint = cmp.Or(k.busy, m.Hint)
	}
	return m
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

// statusError is a response without success.
type statusError struct {
	code    int
	message string // of the endpoint; may be empty
	fields  FieldErrors
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the endpoint answered %d %s", e.code, http.StatusText(e.code))
	if e.message == "" {
		return text
	}
	return text + ": " + e.message
}

func (e *statusError) Unwrap() error {
	if len(e.fields) == 0 {
		return nil
	}
	return e.fields
}

// responseError is the error of a response without success to a call about k. body is that of the
// response; sent is the size of the request's body, in bytes.
func responseError(resp *http.Response, body []byte, sent int, k *kind) error {
	if resp.StatusCode == http.StatusRequestEntityTooLarge {
		return tooLarge(sent)
	}
	e := &statusError{code: resp.StatusCode}
	e.message, e.fields = readErrors(body)
	m := meaningOf(e.code, e.message, k)
	if len(e.fields) > 0 && (m.Code == transfer.CodeRefused || m.Code == transfer.CodeNotFound) {
		m.Hint = "correct " + singleLine([]byte(strings.Join(e.fields.keys(), ", ")))
	}
	if isHTMLOrJSON(body) {
		e.message = "a page that is not API 1.0's"
		// A status that a retry may help may come from a proxy.
		if m.Code != transfer.CodeUnauthorized && m.Code.Retry() == transfer.RetryNever {
			m = transport.Meaning{Code: transfer.CodeProtocol, Hint: hintNotAPI}
		}
	}
	if to := resp.Header.Get("Location"); to != "" && e.code/100 == 3 {
		e.message = "redirected"
		m = transport.Meaning{
			Code: transfer.CodeProtocol,
			Hint: "redirects are not followed, to protect the credentials: set url to the final address",
		}
	}
	var err error = e
	if e.code >= 300 && e.code < 500 && e.code != http.StatusRequestTimeout {
		err = transfer.NotCarriedOut(err)
	}
	return m.ResponseError(resp.Header, err)
}

// singleLine makes an endpoint's message safe for a terminal: one line without control characters,
// and not too long.
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
	s = strings.Join(strings.Fields(s), " ")
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
