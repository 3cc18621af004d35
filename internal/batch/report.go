package batch

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// reportWords are the columns of a report.
var reportWords = []string{
	"kind", "source", "target", "name", "state", "drive", "bytes", "seconds", "job", "error", "remedy",
}

// row is an item as a row of a report.
func row(it *transfer.BatchItem) []string {
	cause, remedy := "", ""
	if it.Error != nil {
		cause, remedy = it.Error.Message, it.Error.Hint
	}
	return []string{
		string(it.Kind), it.Source, it.Target, it.Name, string(it.State), it.Drive, strconv.FormatInt(it.Bytes, 10),
		strconv.FormatFloat(it.Seconds, 'f', 1, 64), it.Job, cause, remedy,
	}
}

// WriteCSV writes a report of a batch as CSV. A spreadsheet runs cells that begin with = + - or @
// as formulas, so they get an apostrophe before them. So do those that begin with a tab or a line
// break, which some spreadsheets leave out.
func WriteCSV(w io.Writer, b *transfer.Batch) error {
	out := csv.NewWriter(w)
	if err := out.Write(reportWords); err != nil {
		return err
	}
	for i := range b.Items {
		cells := row(&b.Items[i])
		for n, cell := range cells {
			if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
				cells[n] = "'" + cell
			}
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// markdownCell quotes what has a meaning in a table of Markdown, or as HTML.
var markdownCell = strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`)

// WriteMarkdown writes a report of a batch as a table of Markdown.
func WriteMarkdown(w io.Writer, b *transfer.Batch) error {
	var text strings.Builder
	line := func(cells []string) { fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | ")) }
	line(reportWords)
	line(strings.Split(strings.Repeat("---,", len(reportWords)-1)+"---", ","))
	for i := range b.Items {
		cells := row(&b.Items[i])
		for n := range cells {
			cells[n] = markdownCell.Replace(cells[n])
		}
		line(cells)
	}
	_, err := io.WriteString(w, text.String())
	return err
}
