package sandbox

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// command is one row of the table of commands.
type command struct {
	// pattern is the path without its leading slash. Each element of it matches one element of a
	// path:
	//
	//	word         that word
	//	{uuid}       a UUID, in upper or lower case; the parameter uuid is in lower case
	//	{ip}         an IPv4 address
	//	{name:a|b}   one of these words
	//	{name}       any text, also empty
	//	{name?}      the same, but it may be missing at the end of a path
	pattern string
	methods methods
	handler handler
	faults  possibleFaults
}

// methods is the method rule of a command, as the Allow header puts it (manual 5).
type methods string

const (
	getOrPost methods = "GET, POST" // commands without input, which ignore a body
	postOnly  methods = "POST"      // commands with input
)

// check returns an error for a method that the rule does not allow.
func (m methods) check(method string) error {
	if method == http.MethodPost || method == http.MethodGet && m == getOrPost {
		return nil
	}
	err := statusErrorf(http.StatusMethodNotAllowed, "system", "This command takes %s.", m)
	err.allow = string(m)
	return err
}

// handler finds the object that a request names, and returns the action on it. Faults are injected
// before the action: a request for an object that does not exist meets none.
type handler func(*request) (action, error)

type action func() (response, error)

// onObject is the handler of a command on one object.
func onObject[T any](find func(*request) (T, error), run func(*request, T) (response, error)) handler {
	return func(req *request) (action, error) {
		object, err := find(req)
		return func() (response, error) { return run(req, object) }, err
	}
}

// onNone is the handler of a command that names no object.
func onNone(run func(*request) (response, error)) handler {
	return func(req *request) (action, error) {
		return func() (response, error) { return run(req) }, nil
	}
}

// route is a command with its parsed pattern.
type route struct {
	command
	elements []element
	required int // the fewest elements of a path
}

// element is one element of a pattern.
type element struct {
	parameter string   // its name, empty for a word
	words     []string // that it matches; nil for any text, a UUID, and an address
}

func newRoutes(commands []command) []route {
	routes := make([]route, len(commands))
	for i, c := range commands {
		r := route{command: c}
		for text := range strings.SplitSeq(c.pattern, "/") {
			e, optional := newElement(text)
			r.elements = append(r.elements, e)
			if !optional {
				r.required = len(r.elements)
			}
		}
		routes[i] = r
	}
	return routes
}

func newElement(text string) (e element, optional bool) {
	inner, isParameter := strings.CutPrefix(text, "{")
	if !isParameter {
		return element{words: []string{text}}, false
	}
	inner, optional = strings.CutSuffix(strings.TrimSuffix(inner, "}"), "?")
	name, words, limited := strings.Cut(inner, ":")
	e.parameter = name
	if limited {
		e.words = strings.Split(words, "|")
	}
	return e, optional
}

// value is the value of an element of a path, false if e does not match it.
func (e *element) value(text string) (string, bool) {
	switch {
	case e.words != nil:
		return text, slices.Contains(e.words, text)
	case e.parameter == "uuid":
		return parseUUID(text)
	case e.parameter == "ip":
		return parseIPv4(text)
	}
	return text, true
}

// match matches a path that was split at its slashes, and returns the parameters.
func (r *route) match(path []string) (parameters map[string]string, ok bool) {
	if len(path) < r.required || len(path) > len(r.elements) {
		return nil, false
	}
	parameters = make(map[string]string, len(path))
	for i, text := range path {
		e := &r.elements[i]
		value, ok := e.value(text)
		if !ok {
			return nil, false
		}
		if e.parameter != "" {
			parameters[e.parameter] = value
		}
	}
	return parameters, true
}

// match finds the command of a path, false if there is none. Several leading slashes count as one:
// scripts have a base URL that ends with a slash.
func match(routes []route, path string) (c *command, parameters map[string]string, ok bool) {
	elements := strings.Split(strings.TrimLeft(path, "/"), "/")
	for i := range routes {
		if parameters, ok := routes[i].match(elements); ok {
			return &routes[i].command, parameters, true
		}
	}
	return nil, nil, false
}

// dispatch finds the command and the object that a request names, and runs the command under
// injected faults.
func (s *Server) dispatch(req *request, faults *faultSet) (response, error) {
	if s.isClosed() {
		return response{}, internalError(errClosed)
	}
	var ok bool
	if req.command, req.parameters, ok = match(s.routes, req.r.URL.Path); !ok {
		return response{}, statusErrorf(http.StatusNotFound, "system", "No such command.")
	}
	if err := req.command.methods.check(req.r.Method); err != nil {
		return response{}, err
	}
	run, err := req.command.handler(req)
	if err != nil {
		return response{}, err
	}
	if err := s.inject(req, faults); err != nil {
		return response{}, err
	}
	resp, err := run()
	if err == nil && req.fault.kind == faultTimeout {
		return response{}, s.timedOut()
	}
	return resp, err
}

// parseUUID returns s in lower case, or false if it does not have the form 8-4-4-4-12 hexadecimal
// digits: the other forms that uuid.Parse takes have other lengths.
func parseUUID(s string) (string, bool) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return "", false
	}
	return id.String(), true
}
