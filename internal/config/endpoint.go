package config

import (
	"context"
	"fmt"

	"github.com/transferd/transferd/internal/transfer"
)

// Endpoint is a cloud that has API 1.0, and the credentials for it.
type Endpoint struct {
	URL             string `yaml:"url"`
	User            string `yaml:"user"`
	PasswordEnv     string `yaml:"password_env,omitempty"`     // name of an environment variable
	PasswordFile    string `yaml:"password_file,omitempty"`    // path; the file's first line
	PasswordCommand string `yaml:"password_command,omitempty"` // run by sh; its first line of output
	CAFile          string `yaml:"ca_file,omitempty"`          // certificates to trust in addition to the system's, PEM
	MaxInFlight     int    `yaml:"max_in_flight,omitempty"`    // requests at once, of all jobs of a worker; 0: 16
}

const maxInFlight = 1024

func (e *Endpoint) check(name string) error {
	_, err := transfer.EndpointURL(e.URL)
	switch {
	case !transfer.ValidEndpointName(name):
		return invalid("use letters, digits, dot, dash and underscore",
			"endpoints: %q is not a valid endpoint's name", name)
	case err != nil:
		return fmt.Errorf("endpoints: %s: %w", name, err)
	case e.User == "":
		return invalid("add user: and one of password_env, password_file, password_command",
			"endpoints: %s: user is missing", name)
	case e.secret().sources() == 0:
		return invalid("add one of password_env, password_file and password_command",
			"endpoints: %s: the password is missing", name)
	case e.secret().sources() != 1:
		return invalid("give exactly one of password_env, password_file and password_command",
			"endpoints: %s: the password has %d sources", name, e.secret().sources())
	case e.MaxInFlight < 0 || e.MaxInFlight > maxInFlight:
		return invalid(fmt.Sprintf("use 1 to %d", maxInFlight), "endpoints: %s: max_in_flight: %d is out of range 1-%d",
			name, e.MaxInFlight, maxInFlight)
	}
	return nil
}

func (e *Endpoint) secret() secret {
	return secret{"password", e.PasswordEnv, e.PasswordFile, e.PasswordCommand}
}

// Password fetches the password from its source. Errors have CodeInvalid and never hold the
// password.
func (e *Endpoint) Password(ctx context.Context) (string, error) { return e.secret().fetch(ctx) }
