package queue

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// acl is a user of Redis with only the rights that transferd needs: for its own keys and asynq's,
// and without commands that administer the server. docs/security.md has it.
const acl = "user transferd on >s3cret ~td:* ~asynq:* &asynq:* +@all -@admin -@dangerous +info\nuser default off\n"

// secureRedis is a redis-server that accepts only TLS, with a certificate of its own, and one user.
func secureRedis(t *testing.T) (address, caFile string) {
	t.Helper()
	dir := t.TempDir()
	cert, key := transfertest.Certificate(t)
	path := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	certFile := path("cert.pem", cert)
	keyFile := path("key.pem", key)
	address = transfertest.FreeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(redisServer(t), "--port", "0", "--tls-port", port, "--bind", "127.0.0.1",
		"--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-auth-clients", "no",
		"--aclfile", path("users.acl", []byte(acl)), "--dir", dir, "--appendonly", "yes",
		"--logfile", filepath.Join(dir, "log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return address, certFile
}

// TestJobRunsOverTLSWithFewRights: a job runs over TLS as a user with few rights. A connection
// without the right certificate, TLS, user or password fails.
func TestJobRunsOverTLSWithFewRights(t *testing.T) {
	address, ca := secureRedis(t)
	right := Options{URL: "rediss://transferd:s3cret@" + address + "/0", CAFile: ca}
	awaitRedis(t, right)
	c := dial(t, right)
	serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
		if _, err := a.Claim(ctx, transfer.Claim{Endpoint: "zrh", Drive: "d", Mark: "m"}); err != nil {
			return err
		}
		return a.Save(ctx, &transfer.Checkpoint{Entries: entries(0, 3)})
	})
	id, _ := enqueueOnce(t, c, newSpec())
	await(t, c, id, transfer.Succeeded)
	if n, err := c.Prune(t.Context(), PruneOptions{}); n != 1 || err != nil {
		t.Errorf("got %d pruned jobs (%v), want 1", n, err)
	}
	if err := c.rdb.FlushAll(t.Context()).Err(); err == nil {
		t.Error("FLUSHALL: got no error, want a refusal")
	}
	for name, wrong := range map[string]Options{
		"no certificate": {URL: right.URL},
		"no TLS":         {URL: strings.Replace(right.URL, "rediss", "redis", 1)},
		"wrong password": {URL: strings.Replace(right.URL, "s3cret", "s4cret", 1), CAFile: ca},
		"no user":        {URL: strings.Replace(right.URL, "transferd:s3cret@", "", 1), CAFile: ca},
	} {
		_, err := Dial(t.Context(), wrong)
		wantCode(t, err, transfer.CodeUnreachable)
		if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "s4cret") {
			t.Errorf("%s: got %v, want an error without the password", name, err)
		}
	}
	for _, file := range []string{"/none", filepath.Join(filepath.Dir(ca), "key.pem")} {
		_, err := Dial(t.Context(), Options{URL: right.URL, CAFile: file})
		wantCode(t, err, transfer.CodeInvalid)
	}
}

// TestReloginUsesTheNewPassword: connections that are made after Relogin use the new password.
func TestReloginUsesTheNewPassword(t *testing.T) {
	r := startRedis(t)
	rotate := func(c *Client, password string) {
		t.Helper()
		if err := c.rdb.ConfigSet(t.Context(), "requirepass", password).Err(); err != nil {
			t.Fatal(err)
		}
	}
	address := func(password string) string {
		return strings.Replace(r.options.URL, "unix://", "unix://:"+password+"@", 1)
	}
	rotate(dial(t, r.options), "f1rst")
	c := dial(t, Options{URL: address("f1rst")})
	rotate(c, "r0tated")
	// A connection stays logged in until it ends.
	if err := c.rdb.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); err == nil || strings.Contains(err.Error(), "f1rst") {
		t.Errorf("with the old password: got %v, want an error without the password", err)
	}
	wantCode(t, c.Relogin("http://no.redis"), transfer.CodeInvalid)
	if err := c.Relogin(address("r0tated")); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("with the new password: got %v, want no error", err)
	}
}
