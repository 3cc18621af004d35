package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

// DevEndpoint is the name of the sandbox that `transferd --dev` brings.
const DevEndpoint = "sandbox"

func devFile(state string) string { return filepath.Join(state, "dev.yaml") }

// AnnounceDev tells programs that share the state folder of a `transferd --dev` what its sandbox's address and login are.
// The returned function takes it back.
func AnnounceDev(state, url, user, password string) (withdraw func() error, err error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	secret := filepath.Join(state, "dev.password")
	text, err := yaml.Marshal(Config{Endpoints: map[string]Endpoint{
		DevEndpoint: {URL: url, User: user, PasswordFile: secret},
	}})
	if err != nil {
		return nil, fmt.Errorf("encode dev endpoint: %w", err)
	}
	withdraw = func() error { return errors.Join(remove(devFile(state)), remove(secret)) }
	err = errors.Join(os.WriteFile(secret, []byte(password+"\n"), 0o600), os.WriteFile(devFile(state), text, 0o600))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("announce dev endpoint: %w", err), withdraw())
	}
	return withdraw, nil
}

// remove removes a file, unless it is gone already.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// addDevEndpoints adds the sandbox of a `transferd --dev` on this machine; what is configured by hand stays.
func (c *Config) addDevEndpoints() error {
	dev, err := readFile(devFile(c.State))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil // in the state folder of another user it is not for this one
	}
	if err != nil {
		return err
	}
	if c.Endpoints == nil {
		c.Endpoints = make(map[string]Endpoint)
	}
	for name, e := range dev.Endpoints {
		if _, ok := c.Endpoints[name]; !ok {
			c.Endpoints[name] = e
		}
	}
	return nil
}
