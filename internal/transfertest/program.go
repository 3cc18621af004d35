package transfertest

import (
	"os/exec"
	"testing"
)

// Program fails the test if a program is not installed, with the Debian package that has it.
func Program(t testing.TB, name, debian string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: install the Debian package %s", err, debian)
	}
}
