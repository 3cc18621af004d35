package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

// DevEndpoint is the name of the sandbox endpoint that `transferd --dev` starts.
const DevEndpoint = "sandbox"

func devFile(state string) string { return filepath.Join(state, "dev.yaml") }

// AnnounceDev writes the URL and credentials of the sandbox of a `transferd --dev` into the state
// folder, from which Load adds the endpoint in other programs. withdraw removes them.
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

// addDevEndpoints adds the sandbox of a `transferd --dev` that shares the state folder. An endpoint
// of the same name in the config takes precedence.
func (c *Config) addDevEndpoints() error {
	dev, err := readFile(devFile(c.State))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil // another user's state folder
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
