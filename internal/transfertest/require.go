package transfertest

import (
	"os/exec"
	"testing"
)

// RequireProgram fails the test if a program is not installed, and names the Debian package of it.
func RequireProgram(t testing.TB, name, debian string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: install the Debian package %s", err, debian)
	}
}
