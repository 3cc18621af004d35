package config

import "context"

// HTTP has the token and the certificate of the status API, which an address needs that other hosts
// can reach.
type HTTP struct {
	TokenEnv     string   `yaml:"token_env,omitempty"`     // name of an environment variable
	TokenFile    string   `yaml:"token_file,omitempty"`    // path; the file's first line
	TokenCommand string   `yaml:"token_command,omitempty"` // run by sh; its first line of output
	CertFile     string   `yaml:"cert_file,omitempty"`     // certificates, PEM
	KeyFile      string   `yaml:"key_file,omitempty"`      // their key, PEM
	Hosts        []string `yaml:"hosts,omitempty"`         // names of this host, besides localhost and addresses
}

// minToken is the length of the shortest token that is hard to guess, in bytes.
const minToken = 16

func (h *HTTP) secret() secret { return secret{"token", h.TokenEnv, h.TokenFile, h.TokenCommand} }

func (h *HTTP) check() error {
	if n := h.secret().sources(); n > 1 {
		return invalid("give one of token_env, token_file and token_command", "http: the token has %d sources", n)
	}
	if (h.CertFile == "") != (h.KeyFile == "") {
		return invalid("give both", "http: one of cert_file and key_file is missing")
	}
	return nil
}

// Token fetches the token; empty: none is required. Errors have CodeInvalid and never hold the
// token.
func (h *HTTP) Token(ctx context.Context) (string, error) {
	if h.secret().sources() == 0 {
		return "", nil
	}
	token, err := h.secret().fetch(ctx)
	if err == nil && len(token) < minToken {
		err = invalid("make one with openssl rand -hex 32", "http: the token has fewer than %d characters", minToken)
	}
	return token, err
}
