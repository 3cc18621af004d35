package api

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// postCommands are the commands without input that need POST.
var postCommands = []string{"destroy", "start", "stop", "shutdown", "reset", "create"}

// calculate ends the paths of commands that have input and change nothing.
const calculate = "calculate"

func splitPath(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

func lastWord(words []string) string { return words[len(words)-1] }

// IsRead reports whether a call changes nothing, so that it may be repeated.
func IsRead(path string, input []byte) bool {
	last := lastWord(splitPath(path))
	return last == calculate || input == nil && !slices.Contains(postCommands, last)
}

// maxKeys is the most bytes of keys and values in one call. Endpoints accept less.
const maxKeys = 1 << 20

// MaxInput is the most bytes of input that a call may have: for a write that of a chunk.
func MaxInput(path string) int {
	if IsData(path) {
		return MaxChunk
	}
	return maxKeys
}

// IsData reports whether a call reads or writes the data of a drive, instead of keys and values.
func IsData(path string) bool {
	words := splitPath(path)
	return len(words) > 2 && words[0] == "drives" && (words[2] == "read" || words[2] == "write")
}

// methodOf is the method of a call. The manual has GET for starting and stopping a server group.
func methodOf(words []string, input []byte) string {
	last := lastWord(words)
	group := words[0] == groupKind.path && (last == "start" || last == "stop")
	if input != nil || !group && slices.Contains(postCommands, last) {
		return http.MethodPost
	}
	return http.MethodGet
}

// Call makes any call and returns the response, like the vendor's script. It uses POST with input
// and for commands that change something, and GET for others. path is the words of the call, joined
// by slashes.
func (c *Client) Call(ctx context.Context, path string, input []byte) ([]byte, error) {
	words := splitPath(path)
	cmd := command{op: "call " + path, method: methodOf(words, input), input: input, data: IsData(path)}
	for i := range words {
		words[i] = url.PathEscape(words[i])
	}
	cmd.path = strings.Join(words, "/")
	return c.text(ctx, cmd)
}

// ReadAfter returns the path of a call that shows whether a call that changes something was carried
// out: the list of objects for one that makes or destroys them, else the info of the object.
func ReadAfter(path string) []string {
	words := splitPath(path)
	last := lastWord(words)
	named := slices.IndexFunc(words, func(w string) bool { return ValidUUID(strings.ToLower(w)) || validAddress(w) })
	switch {
	case words[0] == "profile":
		return []string{"profile", "info"}
	case words[0] == "subscriptions":
		return []string{"subscriptions", "list"}
	case named > 0 && last != "destroy" && last != "clone":
		return append(slices.Clone(words[:named+1]), "info")
	case named > 0:
		return append(slices.Clone(words[:named]), "list")
	case words[0] == "resources" && len(words) > 1:
		return []string{words[0], words[1], "list"}
	case last == "start" || last == "stop":
		return []string{words[0], "info"}
	}
	return []string{words[0], "list"}
}

// DecodeValues returns the values of a response that is a list. ok is false if it has objects.
func DecodeValues(path string, response []byte) (values []string, ok bool) {
	words := splitPath(path)
	switch {
	case words[0] == "resources" && lastWord(words) == "list":
		return lastWords(response), true
	case bytes.IndexByte(bytes.TrimSpace(response), ' ') < 0:
		return firstWords(response), true
	}
	return nil, false
}
