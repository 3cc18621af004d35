package batch

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// parseCSV reads a plan whose first row has the words. An empty cell is a word that the item does
// not have. Fields are separated by commas, or by the semicolons or tabs that the header row has.
func parseCSV(b []byte) (*Plan, error) {
	r := csv.NewReader(bytes.NewReader(b))
	r.FieldsPerRecord, r.TrimLeadingSpace, r.Comment = -1, true, '#'
	header, _, _ := bytes.Cut(b, []byte("\n"))
	for _, comma := range ";\t" {
		if bytes.ContainsRune(header, comma) && !bytes.ContainsRune(header, ',') {
			r.Comma = comma
		}
	}
	words, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, invalid("begin with a row of words, such as source,target,name", "it is empty")
	}
	if err != nil {
		return nil, csvError(err)
	}
	for i := range words {
		words[i] = canonical(words[i])
		if err := checkWord(words[i]); words[i] != "" && err != nil {
			return nil, transfer.Errorf(transfer.CodeInvalid, hintOf(err), "line 1: %w", err)
		}
	}
	p := new(Plan)
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return nil, csvError(err)
		}
		n, _ := r.FieldPos(0)
		if err := p.addRow(lineText(n), words, row); err != nil {
			return nil, err
		}
	}
}

func (p *Plan) addRow(where string, words, row []string) error {
	own := make(Options)
	for i, cell := range row {
		cell = strings.TrimSpace(cell)
		switch {
		case cell == "":
			continue
		case i >= len(words) || words[i] == "":
			return invalid("give the column a word in the first row", "%s: column %d has no word", where, i+1)
		}
		own[words[i]] = append(own[words[i]], cellValues(words[i], cell)...)
	}
	if len(own) == 0 {
		return nil // spreadsheets end with empty rows
	}
	l, err := newLine(where, own, nil)
	p.Lines = append(p.Lines, l)
	return err
}

// cellValues are the values in a cell: targets are separated by semicolons, the values of other
// lists also by commas and blanks.
func cellValues(word, cell string) (values []string) {
	separators := ""
	switch {
	case word == wordTarget:
		separators = ";\n"
	case options[word].list:
		separators = ";, \t\r\n"
	default:
		return []string{cell}
	}
	for _, v := range strings.FieldsFunc(cell, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		values = append(values, strings.TrimSpace(v))
	}
	return values
}

func csvError(err error) error {
	var e *csv.ParseError
	if errors.As(err, &e) {
		return invalid("quote cells with commas, quotes or line breaks, and double the quotes in them",
			"%s: %w", lineText(e.Line), e.Err)
	}
	return err
}

func hintOf(err error) string {
	var e *transfer.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
