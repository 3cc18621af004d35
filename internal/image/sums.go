package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// maxSums bounds a list of sums, in bytes: one of a thousand files has 100 KiB.
const maxSums = 4 << 20

// sum is a line of a list of SHA-256 sums.
type sum struct {
	line   int    // from 1
	sha256 string // in hexadecimal, lower case
	file   string // with its path as in the list; empty: the line has nothing but the sum
}

var (
	// gnuLine is a line of sha256sum: the sum, a space, and a space for text or an asterisk for
	// binary before the name. A backslash before it says that the name has escapes. Publishers also
	// write other numbers of spaces.
	gnuLine = regexp.MustCompile(`^(\\?)([0-9A-Fa-f]{64})(?:[ \t]+\*?(.+))?$`)
	// bsdLine is a line of sha256 of the BSDs and of sha256sum --tag.
	bsdLine    = regexp.MustCompile(`^(\\?)SHA256 ?\((.+)\) ?= ?([0-9A-Fa-f]{64})$`)
	sumEscapes = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")
)

// parseSums reads the SHA-256 sums of a list and ignores all other lines, such as those of a
// signature and sums by other algorithms.
func parseSums(text []byte) (sums []sum) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimRight(line, " \t\r")
		s, escaped := sum{line: i + 1}, ""
		if m := bsdLine.FindStringSubmatch(line); m != nil {
			escaped, s.file, s.sha256 = m[1], m[2], m[3]
		} else if m := gnuLine.FindStringSubmatch(line); m != nil {
			escaped, s.sha256, s.file = m[1], m[2], m[3]
		} else {
			continue
		}
		if s.file == "-" { // standard input
			s.file = ""
		}
		if escaped != "" {
			s.file = sumEscapes.Replace(s.file)
		}
		s.sha256 = strings.ToLower(s.sha256)
		sums = append(sums, s)
	}
	return sums
}

// findSum finds the sum of a file in a list. where is the path of the file: its last element must
// be that of the line, and of several such lines those with the longest common end of the path
// count. A list that is one sum without a name is that of any file.
func findSum(sums []sum, where string) (sum, error) {
	if len(sums) == 1 && sums[0].file == "" {
		return sums[0], nil
	}
	var found []sum
	best := 1
	for _, s := range sums {
		n := commonEnd(s.file, where)
		if n > best {
			found, best = nil, n
		}
		if n == best {
			found = append(found, s)
		}
	}
	name := path.Base(where)
	switch different := slices.IndexFunc(found, func(s sum) bool { return s.sha256 != found[0].sha256 }); {
	case len(sums) == 0:
		return sum{}, errors.New("it has no SHA-256 sums")
	case len(found) == 0:
		return sum{}, fmt.Errorf("it has no line for %q; it has %s", name, namesOf(sums))
	case different > 0:
		return sum{}, fmt.Errorf("lines %d and %d have different sums for %q",
			found[0].line, found[different].line, name)
	}
	return found[0], nil
}

// commonEnd is the number of last elements that two paths have in common.
func commonEnd(a, b string) (n int) {
	as, bs := strings.Split(path.Clean(a), "/"), strings.Split(path.Clean(b), "/")
	for n < len(as) && n < len(bs) && as[len(as)-1-n] == bs[len(bs)-1-n] {
		n++
	}
	return n
}

// namesOf has the first names of a list, for a message.
func namesOf(sums []sum) string {
	const most = 5
	var names []string
	for _, s := range sums[:min(most, len(sums))] {
		name := strconv.Quote(s.file)
		if s.file == "" {
			name = "a sum without a name"
		}
		names = append(names, name)
	}
	list := strings.Join(names, ", ")
	if more := len(sums) - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// FetchSum fetches a list of SHA-256 sums, such as SHA256SUMS, and finds the one of the source in
// it by the name of its file. It reads the forms of sha256sum and of the BSDs, and a list that is
// one sum alone. Of the options it uses those for URLs.
//
// Errors: CodeInvalid for a list that has no sum of the source, has contradicting ones, or is
// larger than 4 MiB; otherwise those of Open for URLs.
func FetchSum(ctx context.Context, list string, source transfer.Ref, opts Options) (transfer.PublishedSum, error) {
	r, err := newRemote(transfer.Ref{Path: list}, opts)
	if err != nil {
		return transfer.PublishedSum{}, err
	}
	text, err := r.fetchAll(ctx, maxSums)
	if err != nil {
		return transfer.PublishedSum{}, err
	}
	s, err := findSum(parseSums(text), pathOf(source))
	if err != nil {
		return transfer.PublishedSum{}, r.failure(transfer.CodeInvalid,
			"give the URL of the list that has the sum of this file, or the sum itself by --sha256", err)
	}
	origin := fmt.Sprintf("line %d of %s", s.line, r.name)
	if s.file != "" {
		origin += fmt.Sprintf(" (%q)", s.file)
	}
	return transfer.PublishedSum{SHA256: s.sha256, Origin: origin}, nil
}

// pathOf is the path of a source, without the host of a URL.
func pathOf(source transfer.Ref) string {
	if u, err := url.Parse(source.Path); err == nil && source.IsURL() {
		return u.Path
	}
	return source.Path
}

// fetchAll fetches a resource of at most n bytes.
func (r *remote) fetchAll(ctx context.Context, n int64) (text []byte, err error) {
	resp, err := r.fetch(ctx, http.Header{})
	if err != nil {
		return nil, err
	}
	text, err = io.ReadAll(io.LimitReader(resp, n+1))
	if err = errors.Join(err, resp.Close()); err != nil {
		return nil, r.shortError(int64(len(text)), err)
	}
	if int64(len(text)) > n {
		return nil, r.failure(transfer.CodeInvalid, "is it the list of sums, and not the image?",
			fmt.Errorf("it has more than %d bytes", n))
	}
	return text, nil
}
