package sandbox

import (
	"errors"
	"io/fs"
	"os"

	"github.com/google/uuid"
)

// loadAccount reads the UUIDs of the account and the host; the first start makes them.
func loadAccount(path string) (account, host string, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		account, host = uuid.NewString(), uuid.NewString()
		return account, host, replaceFile(path, encode(object{{"uuid", account}, {"host", host}}))
	}
	if err != nil {
		return "", "", err
	}
	o := decode(text)
	account, _ = o.get("uuid")
	host, _ = o.get("host")
	account, okAccount := parseUUID(account)
	host, okHost := parseUUID(host)
	if !okAccount || !okHost {
		return "", "", errors.New("the account file does not hold two UUIDs")
	}
	return account, host, nil
}

// profileInfo handles /profile/info (manual 6.1). It leaves secret_key out: that is the password.
func (s *Server) profileInfo(*request) (response, error) {
	o := object{
		{"uuid", s.account}, {"email", s.cfg.User}, {"first_name", "Sandbox"}, {"last_name", "User"},
		{"nick_name", "sandbox"}, {"type", "regular"}, {"currency", "EUR"}, {"language", "EN"},
	}
	for _, key := range []string{"title", "company", "address", "postcode", "town", "phone", "country"} {
		o.add(key, "")
	}
	return textResponse(o), nil
}
