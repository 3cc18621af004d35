package config

import (
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// expand makes a path of the config or the environment absolute: ~/ is the user's home, and a
// relative path is relative to base. Other expansions of a shell are refused: unexpanded they would
// name a folder with a $ or ~ in its name.
func expand(key, path, base string) (string, error) {
	home, inHome := strings.CutPrefix(path, "~")
	switch {
	case path == "":
		return "", nil
	case strings.ContainsFunc(path, unicode.IsControl) || !utf8.ValidString(path):
		return "", invalid("use a path of printable characters in UTF-8",
			"%s: %q has characters that are not allowed", key, path)
	case strings.HasPrefix(path, "$"):
		return "", invalid("write the whole path; if the name begins with it, put ./ before it",
			"%s: variables are not expanded in %q", key, path)
	case inHome && home != "" && home[0] != '/':
		return "", invalid("write the whole path; if the name begins with it, put ./ before it",
			"%s: homes of other users are not expanded in %q", key, path)
	case inHome:
		dir, err := os.UserHomeDir()
		if err != nil {
			return "", invalid("write the whole path", "%s: expand %q: %w", key, path, err)
		}
		return filepath.Join(dir, home), nil
	case filepath.IsAbs(path):
		return filepath.Clean(path), nil
	}
	return filepath.Join(base, path), nil
}

// expandPaths makes the paths of a config in the folder base absolute.
func (c *Config) expandPaths(base string) error {
	paths := map[string]*string{
		"redis_ca_file": &c.RedisCAFile, "state": &c.State, "http: token_file": &c.HTTP.TokenFile,
		"http: cert_file": &c.HTTP.CertFile, "http: key_file": &c.HTTP.KeyFile,
	}
	for key, path := range paths {
		if err := expandIn(key, path, base); err != nil {
			return err
		}
	}
	for i := range c.Roots {
		if err := expandIn("roots", &c.Roots[i], ""); err != nil {
			return err
		}
		if !filepath.IsAbs(c.Roots[i]) {
			return invalid("write absolute paths", "roots: %q is not an absolute path", c.Roots[i])
		}
	}
	for _, name := range c.EndpointNames() {
		e := c.Endpoints[name]
		for key, path := range map[string]*string{"password_file": &e.PasswordFile, "ca_file": &e.CAFile} {
			if err := expandIn("endpoints: "+name+": "+key, path, base); err != nil {
				return err
			}
		}
		c.Endpoints[name] = e
	}
	return nil
}

func expandIn(key string, path *string, base string) (err error) {
	*path, err = expand(key, *path, base)
	return err
}
