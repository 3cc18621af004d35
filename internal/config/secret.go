package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// secret has the source of a secret: one of the three is set.
type secret struct {
	name               string // prefix of the keys: password or token
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

const (
	commandTimeout = 30 * time.Second
	// outputTimeout is how long processes that a command left running may keep its output open.
	outputTimeout = time.Second
)

// fetch fetches the secret. Errors have CodeInvalid and never hold the secret.
func (s secret) fetch(ctx context.Context) (string, error) {
	switch {
	case s.env != "":
		if p, ok := os.LookupEnv(s.env); ok {
			return p, nil
		}
		return "", invalid("export "+s.env+", or use "+s.name+"_file", "%s_env: $%s is not set", s.name, s.env)
	case s.file != "":
		b, err := os.ReadFile(s.file)
		if err != nil {
			return "", invalid("make the file readable for this user alone", "%s_file: %w", s.name, err)
		}
		return s.firstLine("file", b)
	}
	return s.run(ctx)
}

// run runs the command. After a timeout, or when ctx ends, it kills the command with all processes
// of its group: in `pass show zrh | head -n1`, pass would go on waiting for a passphrase.
func (s secret) run(ctx context.Context) (string, error) {
	limited, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(limited, "sh", "-c", s.command) //nolint:gosec // the config names the command
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputTimeout
	out, err := cmd.Output()
	// The output may hold the secret, so the error has the exit status alone.
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // success, but a process that it left keeps the output open
		return s.firstLine("command", out)
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case limited.Err() != nil:
		err = fmt.Errorf("no end after %s", commandTimeout)
	case errors.As(err, &exit):
		err = errors.New(exit.String())
	}
	return "", invalid("run the command in a shell as this user", "%s_command: %w", s.name, err)
}

// firstLine is the secret in the text of a file or in the output of a command.
func (s secret) firstLine(source string, text []byte) (string, error) {
	text, err := plain(text)
	if err != nil {
		return "", fmt.Errorf("%s_%s: %w", s.name, source, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", invalid("write the "+s.name+" into the first line", "%s_%s: the first line is empty", s.name, source)
	}
	return line, nil
}

// plain removes the byte order mark that some editors write.
func plain(text []byte) ([]byte, error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, invalid("save it as UTF-8", "the text is UTF-16")
	}
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), nil
}
