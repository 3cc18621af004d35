package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// guardedBy is a client of an endpoint whose password is the value of current. asked counts its
// calls.
func guardedBy(
	t *testing.T, current *atomic.Value, asked *atomic.Int64, fetch func(context.Context) (string, error),
) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if _, p, _ := r.BasicAuth(); p != current.Load() {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("uuid " + uuid + "\n"))
	}))
	t.Cleanup(s.Close)
	return client(t, Config{URL: s.URL, FetchPassword: fetch})
}

// TestRotatedPasswordIsFetchedOnce: when the endpoint refuses the password of several calls, it is
// fetched once for all of them.
func TestRotatedPasswordIsFetchedOnce(t *testing.T) {
	var current atomic.Value
	var asked, fetched atomic.Int64
	current.Store(password)
	c := guardedBy(t, &current, &asked, func(context.Context) (string, error) {
		fetched.Add(1)
		return current.Load().(string), nil
	})
	call := func() error {
		_, err := c.Profile(t.Context())
		return err
	}
	if err := call(); err != nil || fetched.Load() != 0 {
		t.Fatalf("got %v, fetched %d times; want success and 0", err, fetched.Load())
	}
	current.Store("n3w-pass")
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			if err := call(); err != nil {
				t.Errorf("got %v, want success", err)
			}
		})
	}
	calls.Wait()
	if n := fetched.Load(); n != 1 {
		t.Errorf("got %d fetches, want 1", n)
	}
	current.Store("r3loaded-pass")
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	if err := call(); err != nil || asked.Load() != before+1 {
		t.Errorf("after Reload: got %v, %d calls; want success and 1", err, asked.Load()-before)
	}
}

// TestWrongPasswordIsUnauthorized: a call is not repeated with the same password, and the error
// says why no other could be fetched.
func TestWrongPasswordIsUnauthorized(t *testing.T) {
	for name, tc := range map[string]struct {
		fetch func(context.Context) (string, error)
		asked int64
		words []string
	}{
		"it stays":   {nil, 1, nil},
		"the same":   {func(context.Context) (string, error) { return password, nil }, 1, nil},
		"wrong, too": {func(context.Context) (string, error) { return "wr0ng-pass", nil }, 2, nil},
		"none": {func(context.Context) (string, error) {
			return "", transfer.Errorf(transfer.CodeInvalid,
				"make the file readable", "password_file: %w", errors.New("it is gone"))
		}, 1, []string{"who are you?", "it is gone", "make the file readable"}},
	} {
		t.Run(name, func(t *testing.T) {
			var current atomic.Value
			var asked atomic.Int64
			current.Store("right")
			c := guardedBy(t, &current, &asked, tc.fetch)
			_, err := c.Profile(t.Context())
			expect(t, err, transfer.CodeUnauthorized, tc.words...)
			if n := asked.Load(); n != tc.asked {
				t.Errorf("got %d calls, want %d", n, tc.asked)
			}
		})
	}
}
