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

const (
	commandTimeout = 30 * time.Second
	// leftTimeout is how long what a command has left running may keep its output open.
	leftTimeout = time.Second
)

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
		return s.firstLine("file", b)
	}
	return s.run(ctx)
}

// run asks the command. What it has started ends with it when it takes too long, or ctx ends: a `pass show zrh | head -n1`
// that waits for somebody to type would go on without its shell.
func (s secret) run(ctx context.Context) (string, error) {
	limited, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(limited, "sh", "-c", s.command) //nolint:gosec // the config says what to run
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = leftTimeout
	out, err := cmd.Output()
	// What the command printed may hold the secret, so its error says how it ended and no more.
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it has ended well, and left something running
		return s.firstLine("command", out)
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case limited.Err() != nil:
		err = fmt.Errorf("it has not ended after %s", commandTimeout)
	case errors.As(err, &exit):
		err = errors.New(exit.String())
	}
	return "", invalid("run the command by hand as this user", "%s_command: %w", s.what, err)
}

// firstLine is the secret in a file, or in what a command has printed.
func (s secret) firstLine(source string, text []byte) (string, error) {
	text, err := plain(text)
	if err != nil {
		return "", fmt.Errorf("%s_%s: %w", s.what, source, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", invalid("write the "+s.what+" into the first line", "%s_%s: the first line is empty", s.what, source)
	}
	return line, nil
}

// plain is text without the byte order mark that some editors put before it.
func plain(text []byte) ([]byte, error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, invalid("save it as UTF-8", "the text is UTF-16")
	}
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), nil
}
