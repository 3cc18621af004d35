package transfertest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// UnsolicitedServer is the URL of a server that sends a second response after each one. net/http
// writes a line about that through package log. The first response has status 503, so that a client
// that retries is still running when the line is written. All others have status 200 and no body.
func UnsolicitedServer(t testing.TB) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var responded atomic.Bool
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go respondTwice(conn, &responded)
		}
	}()
	return "http://" + l.Addr().String()
}

func respondTwice(conn net.Conn, responded *atomic.Bool) {
	defer conn.Close()
	for r := bufio.NewReader(conn); ; {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		status := "503 Service Unavailable"
		if responded.Swap(true) {
			status = "200 OK"
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n")
	}
}
