// Package config reads the configuration: a YAML file, and environment variables, which take
// precedence over it. Flags take precedence over both; the programs apply them.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/transferd/transferd/internal/transfer"
)

// DefaultListen is the default address of the daemon's status API.
const DefaultListen = "127.0.0.1:7410"

// Config is the configuration of both programs.
type Config struct {
	// Redis is the queue's address; empty: the embedded queue. It may hold a password, so no log or
	// error shows it.
	Redis string `yaml:"redis"`
	// RedisCAFile has certificates to trust in addition to the system's, PEM, for rediss://.
	RedisCAFile string `yaml:"redis_ca_file"`
	// Listen is the address of the daemon's status API.
	Listen string `yaml:"listen"`
	// HTTP says who may use the status API.
	HTTP HTTP `yaml:"http"`
	// Roots are the only folders whose files queued jobs may read or write on this host. Nil: not
	// configured.
	Roots []string `yaml:"roots"`
	// State is the folder of the embedded queue, of the state of --local jobs, and of unpacked images.
	State string `yaml:"state"`
	// Endpoints are the endpoints by the names that addresses use.
	Endpoints map[string]Endpoint `yaml:"endpoints"`
	// URLCredentials are the headers for private images behind URLs, by names for messages.
	URLCredentials map[string]URLCredential `yaml:"url_credentials"`
}

// Load reads the config at path or, if path is empty, the first that exists of $TRANSFERD_CONFIG,
// ~/.config/transferd/config.yaml and /etc/transferd/config.yaml. Without a file it returns the
// defaults, but a file that path or $TRANSFERD_CONFIG names must exist. Errors have CodeInvalid and
// name the file, the line and the key.
func Load(path string) (*Config, error) {
	c, err := loadFirst(path)
	if err != nil {
		return nil, err
	}
	c.Redis = cmp.Or(os.Getenv("TRANSFERD_REDIS"), c.Redis)
	c.Listen = cmp.Or(os.Getenv("TRANSFERD_LISTEN"), c.Listen, DefaultListen)
	if dir := os.Getenv("TRANSFERD_STATE"); dir != "" {
		if c.State, err = expandHere("$TRANSFERD_STATE", dir); err != nil {
			return nil, err
		}
	}
	if c.State == "" {
		if c.State, err = defaultState(); err != nil {
			return nil, err
		}
	}
	return c, c.addDevEndpoints()
}

func loadFirst(path string) (*Config, error) {
	if path != "" {
		return readFile(path)
	}
	if path = os.Getenv("TRANSFERD_CONFIG"); path != "" {
		path, err := expandHere("$TRANSFERD_CONFIG", path)
		if err != nil {
			return nil, err
		}
		return readFile(path)
	}
	var candidates []string
	if dir, err := os.UserConfigDir(); err == nil {
		candidates = append(candidates, filepath.Join(dir, "transferd", "config.yaml"))
	}
	for _, path := range append(candidates, "/etc/transferd/config.yaml") {
		c, err := readFile(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return new(Config), nil
}

// expandHere expands a path that may be relative to the current folder.
func expandHere(key, path string) (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("%s: find the current folder: %w", key, err)
	}
	return expand(key, path, here)
}

func defaultState() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return expandHere("$XDG_STATE_HOME", filepath.Join(dir, "transferd"))
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", invalid("set `state` in the config, or $TRANSFERD_STATE", "find the state folder: %w", err)
	}
	return filepath.Join(home, ".local", "state", "transferd"), nil
}

func readFile(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, invalid("check --config and $TRANSFERD_CONFIG", "read config: %w", err)
	}
	c, err := parse(text)
	if err == nil {
		err = c.expandPaths(folderOf(path))
	}
	if err != nil {
		e := &transfer.Error{Op: "config " + path, Code: transfer.CodeInvalid, Err: err}
		var cause *transfer.Error
		if errors.As(err, &cause) {
			e.Hint = cause.Hint
		}
		return nil, e
	}
	return c, checkSecrecy(path, c)
}

// folderOf is the folder of a file; paths in the file are relative to it.
func folderOf(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return filepath.Dir(path)
}

func parse(text []byte) (*Config, error) {
	text, err := plain(text)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(text) {
		return nil, invalid("save it as UTF-8", "the text is not UTF-8")
	}
	c := new(Config)
	if len(strings.TrimSpace(string(text))) == 0 {
		return c, nil
	}
	if err := decode(text, c, yaml.Strict()); err != nil {
		return nil, describe(err)
	}
	if err := checkRootsGiven(text); err != nil {
		return nil, err
	}
	if err := c.HTTP.check(); err != nil {
		return nil, err
	}
	for _, name := range c.EndpointNames() {
		e := c.Endpoints[name]
		if err := e.check(name); err != nil {
			return nil, err
		}
	}
	return c, c.checkURLCredentials()
}

// checkRootsGiven refuses `roots:` without a value, for example if all its lines are comments: read
// as not configured, it would allow all folders.
func checkRootsGiven(text []byte) error {
	var keys map[string]any
	if err := decode(text, &keys); err != nil {
		return describe(err)
	}
	if roots, ok := keys["roots"]; ok && roots == nil {
		return invalid("write roots: [] for none, or leave it out", "roots: is empty")
	}
	return nil
}

// decode decodes text into v. The library panics on some texts that are not YAML, for example on a
// tag without a value.
func decode(text []byte, v any, opts ...yaml.DecodeOption) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decode YAML: %v", p)
		}
	}()
	return yaml.UnmarshalWithOptions(text, v, opts...)
}

// SpoolFolder is the folder for unpacked images of jobs that name none.
func (c *Config) SpoolFolder() string { return filepath.Join(c.State, "spool") }

// EndpointNames are the names of all endpoints, sorted.
func (c *Config) EndpointNames() []string { return slices.Sorted(maps.Keys(c.Endpoints)) }

func invalid(hint, format string, args ...any) error {
	return transfer.Errorf(transfer.CodeInvalid, hint, format, args...)
}
