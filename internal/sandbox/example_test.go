package sandbox_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/transferd/transferd/internal/sandbox"
)

// A sandbox behind an HTTP server: a drive is created, written and read.
func Example() {
	dir, err := os.MkdirTemp("", "sandbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := sandbox.New(sandbox.Config{Dir: dir, User: "ops@example.com", Password: "open sesame"})
	if err != nil {
		log.Panic(err)
	}
	defer s.Close()
	server := httptest.NewServer(s.Handler())
	defer server.Close()

	post := func(path, body string) string {
		req, err := http.NewRequest(http.MethodPost, server.URL+path, strings.NewReader(body))
		if err != nil {
			log.Panic(err)
		}
		req.SetBasicAuth("ops@example.com", "open sesame")
		res, err := server.Client().Do(req)
		if err != nil {
			log.Panic(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			log.Panic(err)
		}
		return string(text)
	}
	created, _, _ := strings.Cut(post("/drives/create", "name demo\nsize 1M\n"), "\n")
	_, uuid, _ := strings.Cut(created, " ") // "drive UUID"
	post("/drives/"+uuid+"/write/4k", "hello")
	fmt.Println(post("/drives/"+uuid+"/read/4k/5", ""))
	// Output: hello
}

func ExampleParseFault() {
	fault, err := sandbox.ParseFault("409=5%")
	if err != nil {
		log.Panic(err)
	}
	fmt.Printf("%g%% of the requests get a %s\n", fault.Percent, fault.Kind)
	// Output: 5% of the requests get a 409
}
