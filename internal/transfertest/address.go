package transfertest

import (
	"net"
	"testing"
)

// FreeAddress is an address of this host on which nothing listens, for a program that cannot say
// which one it chose. Another program may take it before that.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}
