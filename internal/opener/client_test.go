package opener_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/opener"
)

// TestPasswordHangs keeps nobody from another endpoint, and those who want this one no longer than they like.
func TestPasswordHangs(t *testing.T) {
	asked := filepath.Join(t.TempDir(), "asked")
	if err := unix.Mkfifo(asked, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("A_PASSWORD", "p")
	o := opener.New(map[string]config.Endpoint{
		"hangs": {URL: "https://h", User: "u", PasswordCommand: "echo asked >" + asked + "; sleep 1000"},
		"works": {URL: "https://h", User: "u", PasswordEnv: "A_PASSWORD"},
	}, opener.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		_, err := o.Client(ctx, "hangs")
		first <- err
	}()
	if _, err := os.ReadFile(asked); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Client(t.Context(), "works"); err != nil {
		t.Error(err)
	}
	impatient, giveUp := context.WithCancel(t.Context())
	giveUp()
	if _, err := o.Client(impatient, "hangs"); !errors.Is(err, context.Canceled) {
		t.Errorf("one who does not wait: %v", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("one who waits no more: %v", err)
	}
}
