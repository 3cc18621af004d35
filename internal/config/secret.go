package config

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"
)

// secret is where something secret is to be taken from: one of the three is set.
type secret struct {
	what               string // the beginning of the keys' names
	env, file, command string
}

func (s secret) sources() (n int) {
	for _, source := range []string{s.env, s.file, s.command} {
		if source != "" {
			n++
		}
	}
	return n
}

const commandTimeout = 30 * time.Second

// fetch fetches the secret. Its errors have CodeInvalid and never hold it.
func (s secret) fetch(ctx context.Context) (string, error) {
	switch {
	case s.env != "":
		if p, ok := os.LookupEnv(s.env); ok {
			return p, nil
		}
		return "", invalid("export "+s.env+", or use "+s.what+"_file", "%s_env: $%s is not set", s.what, s.env)
	case s.file != "":
		b, err := os.ReadFile(s.file)
		if err != nil {
			return "", invalid("make the file readable for this user alone", "%s_file: %w", s.what, err)
		}
		return firstLine(b), nil
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", s.command).Output() //nolint:gosec // the config says what to run
	if err != nil {
		// What the command printed may hold the secret.
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = errors.New(exit.String())
		}
		return "", invalid("run the command by hand as this user", "%s_command: %w", s.what, err)
	}
	return firstLine(out), nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r")
}
