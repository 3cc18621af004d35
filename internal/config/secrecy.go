package config

import (
	"net/url"
	"os"
	"path/filepath"
)

// secretFile is a file that holds something secret.
type secretFile struct{ key, path string }

// secretFiles is those that the config names.
func (c *Config) secretFiles() []secretFile {
	files := []secretFile{{"http: token_file", c.HTTP.TokenFile}, {"http: key_file", c.HTTP.KeyFile}}
	for _, name := range c.EndpointNames() {
		files = append(files, secretFile{"endpoints: " + name + ": password_file", c.Endpoints[name].PasswordFile})
	}
	return files
}

// checkSecrecy refuses a config, at path, that holds a password and that everybody may read; and
// one that names a secret file which every job may read. The modes of secret files are not checked:
// everybody may read those that containers are given, and that cannot be changed.
func checkSecrecy(path string, c *Config) error {
	if holdsPassword(c.Redis) && everybodyReads(path) {
		return invalid("chmod 600 it, or give the address by $TRANSFERD_REDIS", "config %s holds a password in `redis:`, and everybody on this host may read it", path)
	}
	for _, f := range c.secretFiles() {
		if root := c.rootOf(f.path); root != "" {
			return invalid("keep it elsewhere, or name other folders", "%s: jobs may read %s, for it is under %s of `roots:`", f.key, f.path, root)
		}
	}
	return nil
}

// holdsPassword reports whether a Redis address has a user or password, which one for sentinels has in its query.
func holdsPassword(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	query := u.Query()
	return u.User != nil || query.Has("password") || query.Has("sentinel_password")
}

// everybodyReads looks at the file's mode. What is no file cannot be changed by who runs this: a pipe of the shell's, say.
func everybodyReads(path string) bool {
	info, err := os.Stat(path) //nolint:gosec // what users name
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o004 != 0
}

// rootOf is the root that path lies under, links followed; empty if there is none.
func (c *Config) rootOf(path string) string {
	if path == "" {
		return ""
	}
	for _, root := range c.Roots {
		if rel, err := filepath.Rel(follow(root), follow(path)); err == nil && filepath.IsLocal(rel) {
			return root
		}
	}
	return ""
}

// follow is where a path leads; if nothing is there yet, what it says.
func follow(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if there, err := filepath.EvalSymlinks(abs); err == nil {
		return there
	}
	return abs
}
