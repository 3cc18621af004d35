package sandbox

import (
	"errors"
	"fmt"
	"net/http"
)

// errCut ends a request whose connection an injected fault cuts.
var errCut = errors.New("connection cut by an injected fault")

// errClosed ends requests to a closed server, and clones that Close interrupts.
var errClosed = errors.New("the server is closed")

// errReleased ends a write of a server to a drive that it no longer claims.
var errReleased = errors.New("the server no longer claims the drive")

// statusError is a status of the manual's table (manual 5) and the body that goes with it.
type statusError struct {
	status int
	text   string
	allow  string // of a 405
	close  bool   // the connection cannot be used again
}

func (e *statusError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.text) }

// statusErrorf makes an error whose body is one "errors:KEY" line.
func statusErrorf(status int, key, format string, args ...any) *statusError {
	return &statusError{status: status, text: "errors:" + key + " " + fmt.Sprintf(format, args...) + "\n"}
}

// The kinds of objects, as error texts name them.
const (
	kindDrive        = "Drive"
	kindServer       = "Server"
	kindVLAN         = "VLAN"
	kindIP           = "IP address"
	kindGroup        = "Server group"
	kindSubscription = "Subscription"
)

// notFound is the response about an object that does not exist. Clients look for "could not be
// found".
func notFound(status int, kind, id string) *statusError {
	return statusErrorf(status, "system", "%s %s could not be found.", kind, id)
}

// busy is the response about an object that cannot be changed or used now. Clients look for
// "currently in use".
func busy(kind, id, why string) *statusError {
	return statusErrorf(http.StatusConflict, "system", "%s %s is currently in use: %s.", kind, id, why)
}

// inactive is the response about a drive whose imaging was interrupted.
func inactive(id string) *statusError {
	return statusErrorf(http.StatusBadRequest, "system",
		"Drive %s is inactive: it was never completed. Destroy it.", id)
}

// invalidInput is the response to input with bad keys: the input, then a line for each bad key
// (manual 6.2, 11.10).
func invalidInput(sent, bad object) *statusError {
	var o object
	for _, p := range sent {
		if printable(p.key) && printable(p.value) {
			o = append(o, p)
		}
	}
	return &statusError{status: http.StatusBadRequest, text: string(encode(append(o, bad...)))}
}

// internalError is the response to a failure of this server.
func internalError(err error) *statusError {
	return statusErrorf(http.StatusInternalServerError, "system", "The command failed: %s.", err)
}
