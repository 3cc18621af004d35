package config

import (
	"net/url"
	"os"
	"path/filepath"
)

// secretFile is a file that holds a secret.
type secretFile struct{ key, path string }

// secretFiles are the files of secrets that the config names.
func (c *Config) secretFiles() []secretFile {
	files := []secretFile{{"http: token_file", c.HTTP.TokenFile}, {"http: key_file", c.HTTP.KeyFile}}
	for _, name := range c.EndpointNames() {
		files = append(files, secretFile{"endpoints: " + name + ": password_file", c.Endpoints[name].PasswordFile})
	}
	return files
}

// checkSecrecy refuses a config, at path, that holds a password and that all users may read, and
// one that names a file of a secret that jobs may read. It does not check the modes of these files:
// those that containers get are readable by all, and that cannot be changed.
func checkSecrecy(path string, c *Config) error {
	if holdsPassword(c.Redis) && worldReadable(path) {
		return invalid("chmod 600 it, or give the address by $TRANSFERD_REDIS",
			"config %s holds a password in `redis:`, and all users of this host may read it", path)
	}
	for _, f := range c.secretFiles() {
		if root := c.rootOf(f.path); root != "" {
			return invalid("move it, or name other folders in `roots:`",
				"%s: jobs may read %s, which is under %s of `roots:`", f.key, f.path, root)
		}
	}
	return nil
}

// holdsPassword reports whether a Redis address has a user or a password. The address of sentinels
// has them in its query.
func holdsPassword(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	query := u.Query()
	return u.User != nil || query.Has("password") || query.Has("sentinel_password")
}

// worldReadable reports whether all users may read a file. Pipes of a shell and the like are left
// out: users cannot change their mode.
func worldReadable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o004 != 0
}

// rootOf is the root that path is under, after symbolic links; empty if there is none.
func (c *Config) rootOf(path string) string {
	if path == "" {
		return ""
	}
	for _, root := range c.Roots {
		if rel, err := filepath.Rel(resolve(root), resolve(path)); err == nil && filepath.IsLocal(rel) {
			return root
		}
	}
	return ""
}

// resolve follows the symbolic links of a path; without a file there it returns the absolute path.
func resolve(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if target, err := filepath.EvalSymlinks(abs); err == nil {
		return target
	}
	return abs
}
