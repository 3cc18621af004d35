package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/transferd/transferd/internal/transfer"
)

// Plan is the content of a plan file.
type Plan struct {
	Path  string
	Lines []Line
}

// Line is an entry of a plan, with the defaults of the plan.
type Line struct {
	Where    string // where it is in the file, such as "line 7"
	Source   string
	Targets  []string
	Options  Options // its own
	Defaults Options // of the plan
}

// MaxItems is how many items a plan may have.
const MaxItems = 100_000

// maxPlan is how large a plan file may be, in bytes.
const maxPlan = 64 << 20

// ReadPlan reads a plan file: CSV if its name ends in .csv, otherwise YAML. CodeNotFound: there is
// no such file. Its other errors have CodeInvalid and name the line.
func ReadPlan(path string) (*Plan, error) {
	text, err := readText(path)
	if err != nil {
		return nil, planError(path, err)
	}
	parse := parseYAML
	if strings.EqualFold(filepath.Ext(path), ".csv") {
		parse = parseCSV
	}
	p, err := parse(text)
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, planError(path, err)
	}
	if p.Path, err = filepath.Abs(path); err != nil {
		return nil, planError(path, err)
	}
	return p, nil
}

func readText(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		code := transfer.CodeInvalid
		if errors.Is(err, os.ErrNotExist) {
			code = transfer.CodeNotFound
		}
		return nil, transfer.Errorf(code, "give the path of a plan, YAML or CSV", "%w", errors.Unwrap(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPlan+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxPlan:
		return nil, invalid("divide it", "it is larger than %s", transfer.FormatSize(maxPlan))
	case !utf8.Valid(text):
		return nil, invalid("save it as UTF-8", "its text is not UTF-8")
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), nil // spreadsheets write a byte order mark
}

// check refuses lines that lack an end.
func (p *Plan) check() error {
	if len(p.Lines) == 0 {
		return invalid("add items, each with a source and a target", "it has no items")
	}
	for i := range p.Lines {
		l := &p.Lines[i]
		switch {
		case l.Source == "":
			return invalid("add source: FILE, ENDPOINT:UUID or ENDPOINT:tag=T", "%s: the item has no source", l.Where)
		case len(l.Targets) == 0:
			return invalid("add target: ENDPOINT: or a path, or a default for all items",
				"%s: the item has no target", l.Where)
		}
	}
	return nil
}

func planError(path string, err error) error {
	e := &transfer.Error{Op: "plan " + path, Code: transfer.CodeInvalid, Err: err}
	var cause *transfer.Error
	if errors.As(err, &cause) {
		e.Code, e.Hint = cause.Code, cause.Hint
	}
	return e
}

func invalid(hint, format string, args ...any) error {
	return transfer.Errorf(transfer.CodeInvalid, hint, format, args...)
}

// newLine makes a line of words and their values.
func newLine(where string, words, defaults Options) (Line, error) {
	l := Line{Where: where, Options: words, Defaults: defaults}
	for _, end := range []string{wordSource, wordTarget} {
		values := words[end]
		if len(values) == 0 {
			values = defaults[end]
		}
		if end == wordTarget {
			l.Targets = values
			continue
		}
		if len(values) > 1 {
			return l, invalid("write one item for each source", "%s: the item has several sources", where)
		}
		l.Source = strings.Join(values, "")
	}
	return l, nil
}

func lineText(n int) string { return fmt.Sprintf("line %d", n) }
