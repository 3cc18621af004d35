package sandbox

import (
	"errors"
	"fmt"
	"net/http"
)

// errCut ends a request whose connection is to be cut instead of answered.
var errCut = errors.New("connection cut by an injected fault")

// problem is a refusal: a status of the manual's table (manual 5) and the body that goes with it.
type problem struct {
	status int
	text   string
	allow  string // of a 405
	close  bool   // the connection cannot be used again
}

func (p *problem) Error() string { return fmt.Sprintf("%d: %s", p.status, p.text) }

// refuse makes a problem whose body is one "errors:KEY" line.
func refuse(status int, key, format string, args ...any) *problem {
	return &problem{status: status, text: "errors:" + key + " " + fmt.Sprintf(format, args...) + "\n"}
}

// missing is the answer about a drive that does not exist. Clients look for "could not be found".
func missing(status int, id string) *problem {
	return refuse(status, "system", "Drive %s could not be found.", id)
}

// busy is the answer about a drive that cannot be touched now. Clients look for "currently in use".
func busy(id, why string) *problem {
	return refuse(http.StatusConflict, "system", "Drive %s is currently in use: %s.", id, why)
}

// inactive is the answer about a drive whose imaging never ended.
func inactive(id string) *problem {
	return refuse(http.StatusBadRequest, "system", "Drive %s is inactive: it was never completed. Destroy it.", id)
}

// invalid is the answer to input with bad keys: what was sent, then a line for each of them (manual 6.2, 11.10).
func invalid(sent, bad object) *problem {
	var o object
	for _, p := range sent {
		if printable(p.key) && printable(p.value) {
			o = append(o, p)
		}
	}
	return &problem{status: http.StatusBadRequest, text: string(encode(append(o, bad...)))}
}

// internal is the answer to a failure of this server.
func internal(err error) *problem {
	return refuse(http.StatusInternalServerError, "system", "The command failed: %s.", err)
}
