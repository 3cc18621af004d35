package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// maxProfileValue is the longest value of a profile, in bytes.
const maxProfileValue = 1024

// profileKeys are the keys of /profile/info in the order of responses. /profile/set takes those
// that are settable (manual 6.2), and requires those that are required.
var profileKeys = []struct {
	key                string
	value              string // at first, and always if it is not settable
	settable, required bool
}{
	{key: "uuid"},
	{key: "email", settable: true, required: true},
	{key: "secret_key"},
	{key: "salutation", settable: true},
	{key: "first_name", value: "Sandbox", settable: true, required: true},
	{key: "last_name", value: "User", settable: true, required: true},
	{key: "nick_name", value: "sandbox", settable: true, required: true},
	{key: "title", settable: true},
	{key: "job_title", settable: true},
	{key: "company", settable: true},
	{key: "vat", settable: true},
	{key: "address", settable: true},
	{key: "postcode", settable: true},
	{key: "town", settable: true},
	{key: "location", settable: true},
	{key: "country", settable: true},
	{key: "phone", settable: true},
	{key: "currency", value: currency, settable: true},
	{key: "language", value: "EN", settable: true},
	{key: "facebook", settable: true},
	{key: "twitter", settable: true},
	{key: "xing", settable: true},
	{key: "linkedin", settable: true},
	{key: "website", settable: true},
	{key: "signature", settable: true},
	{key: "ftp_disabled", value: "true"},
	{key: "api_disabled", value: "false"},
	{key: "api_https_only", value: "false"},
	{key: "type", value: "regular"},
}

// profile is the account, kept in one file. It is safe for concurrent use.
type profile struct {
	path   string
	user   string // Config.User, which is the e-mail until it is set
	uuid   string // of the account
	host   string // UUID of this host
	secret string // API key, which with the UUID is another login

	mu  sync.RWMutex
	set object // by /profile/set
}

// openProfile reads the file at path; the first start makes it.
func openProfile(path, user string) (*profile, error) {
	p := &profile{path: path, user: user, uuid: uuid.NewString(), host: uuid.NewString(), secret: rand.Text()}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, p.save(nil)
	}
	if err != nil {
		return nil, err
	}
	o := decode(text)
	id, _ := o.get("uuid")
	host, _ := o.get("host")
	var okID, okHost bool
	p.uuid, okID = parseUUID(id)
	p.host, okHost = parseUUID(host)
	if !okID || !okHost {
		return nil, errors.New("the account file does not hold two UUIDs")
	}
	for _, k := range profileKeys {
		if value, ok := o.get(k.key); ok && k.settable {
			p.set.add(k.key, value)
		}
	}
	if secret, _ := o.get("secret_key"); secret != "" {
		p.secret = secret
		return p, nil
	}
	return p, p.save(p.set) // written by a version without secret_key
}

// save writes the file with what was set.
func (p *profile) save(set object) error {
	o := object{{"uuid", p.uuid}, {"host", p.host}, {"secret_key", p.secret}}
	return replaceFile(p.path, encode(append(o, set...)))
}

// object is the profile as responses have it, with the values of set. Empty values have their keys.
func (p *profile) object(set object) (o object) {
	for _, k := range profileKeys {
		value, isSet := set.get(k.key)
		switch {
		case isSet:
		case k.key == "uuid":
			value = p.uuid
		case k.key == "email":
			value = p.user
		case k.key == "secret_key":
			value = p.secret
		default:
			value = k.value
		}
		o.add(k.key, value)
	}
	return o
}

// change applies the input of /profile/set, all of it or nothing, and returns the new profile.
func (p *profile) change(in object) (object, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set := slices.Clone(p.set)
	var bad object
	for _, k := range profileKeys {
		value, ok := in.get(k.key)
		switch {
		case !k.settable:
			continue
		case ok:
			set.set(k.key, value)
		}
		if why := p.check(k.key, value, k.required); why != "" {
			bad.add("errors:"+k.key, why)
		}
	}
	if len(bad) > 0 {
		echo := p.object(set)
		echo.remove("secret_key") // clients show and log the text of errors
		return nil, invalidInput(echo, bad)
	}
	if err := p.save(set); err != nil {
		return nil, internalError(err)
	}
	p.set = set
	return p.object(set), nil
}

// check says why a value of the input is bad; value is empty if the input has none.
func (p *profile) check(key, value string, isRequired bool) (why string) {
	switch {
	case value == "" && isRequired:
		return required
	case value == "":
		return ""
	case len(value) > maxProfileValue:
		return fmt.Sprintf("must have at most %d bytes", maxProfileValue)
	case !printable(value):
		return "must not contain control characters"
	case key == "currency" && value != currency:
		return "must be one of: " + currency
	case key == "email" && value != p.user && !isEmail(value):
		return "must be an e-mail address"
	}
	return ""
}

// isEmail reports whether s has the form NAME@HOST.
func isEmail(s string) bool {
	name, host, ok := strings.Cut(s, "@")
	return ok && name != "" && host != "" && !strings.ContainsAny(s, " \t\"<>") && !strings.Contains(host, "@")
}

// profileInfo handles /profile/info (manual 6.1).
func (s *Server) profileInfo(*request) (response, error) {
	s.profile.mu.RLock()
	defer s.profile.mu.RUnlock()
	return textResponse(s.profile.object(s.profile.set)), nil
}

// setProfile handles /profile/set (manual 6.2). It ignores keys that cannot be set, such as uuid.
// To bad input it responds with the profile but for secret_key, in which the input replaces what is
// stored, and a line for each bad key. A new e-mail is no new login: that is the operator's.
func (s *Server) setProfile(req *request) (response, error) {
	in, err := req.input()
	if err != nil {
		return response{}, err
	}
	o, err := s.profile.change(in)
	if err != nil {
		return response{}, err
	}
	return textResponse(o), nil
}
