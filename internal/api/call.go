package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// postCommands are the commands without input that need POST.
var postCommands = []string{"destroy", "start", "stop", "shutdown", "reset", "create"}

func splitPath(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

// IsRead reports whether a call changes nothing, so that it may be repeated.
func IsRead(path string, input []byte) bool {
	words := splitPath(path)
	return input == nil && !slices.Contains(postCommands, words[len(words)-1])
}

// Call makes any call and returns the text of the response, like the vendor's script. It uses POST
// with input and for commands that change something, and GET for others. path is the words of the
// call, joined by slashes.
func (c *Client) Call(ctx context.Context, path string, input []byte) ([]byte, error) {
	words, method := splitPath(path), http.MethodPost
	if IsRead(path, input) {
		method = http.MethodGet
	}
	for i := range words {
		words[i] = url.PathEscape(words[i])
	}
	return c.text(ctx, command{op: "call " + path, method: method, path: strings.Join(words, "/"), input: input})
}
