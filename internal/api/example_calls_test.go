package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

func newClient(url string) *api.Client {
	client, err := api.New(api.Config{Name: "zrh", URL: url, User: "ops", Password: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	return client
}

// The response to the first call is a time-out. The second Do finds the server that the call has
// made, so there is only one.
func ExampleCreation() {
	const id = "2e82c87e-61a1-443c-bc81-5c3167df5c11"
	var made string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/servers/create":
			keys, _ := io.ReadAll(r.Body)
			made = "server " + id + "\n" + string(keys)
			w.WriteHeader(http.StatusGatewayTimeout)
		case "/servers/list":
			if made != "" {
				fmt.Fprintln(w, id)
			}
		default:
			fmt.Fprint(w, made)
		}
	}))
	defer server.Close()

	create := newClient(server.URL).CreateServer(api.ServerOptions{Name: "web", CPU: 2000, Mem: 1024})
	for {
		s, err := create.Do(context.Background())
		if err == nil {
			fmt.Println(s.Name, s.CPU, "MHz")
			break
		}
		fmt.Println("no server yet:", transfer.CodeOf(err))
		if transfer.CodeOf(err).Retry() == transfer.RetryNever {
			break
		}
	}
	// Output:
	// no server yet: timeout
	// web 2000 MHz
}

// An endpoint says which keys of a call are wrong.
func ExampleFieldErrors() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, "name lan\nerrors:name This name is taken.\n")
	}))
	defer server.Close()

	const id = "1b5dcd85-2c4a-4b0e-8c2f-7d9e6a5b4c3d"
	_, err := newClient(server.URL).RenameVLAN(context.Background(), id, "lan")
	fmt.Println(transfer.FailureOf(err).Hint)
	var wrong api.FieldErrors
	if errors.As(err, &wrong) {
		fmt.Println(wrong["name"])
	}
	// Output:
	// correct name
	// This name is taken.
}
