package codec

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
)

func packed(t *testing.T, text, name, comment string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Name, z.Comment, z.Extra = name, comment, []byte(name)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestCut takes a stream of three members for complete at the end of each of them, and nowhere else.
func TestCut(t *testing.T) {
	texts := []string{"one, ", "", "three"}
	var stream []byte
	complete := make(map[int]string) // by length
	for i, text := range texts {
		stream = append(stream, packed(t, text, "name", "comment")...)
		complete[len(stream)] = complete[lastOf(complete)] + texts[i]
	}
	var r Reader
	for n := range len(stream) + 1 {
		for name, src := range map[string]io.Reader{
			"plain": bytes.NewReader(stream[:n]), "buffered": bufio.NewReader(bytes.NewReader(stream[:n])),
			"byte by byte": iotest.OneByteReader(bytes.NewReader(stream[:n])),
		} {
			err := r.Reset(src)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(&r)
			}
			if _, again := r.Read(make([]byte, 1)); err == nil && again != io.EOF || err != nil && !errors.Is(again, err) { //nolint:errorlint // as it is
				t.Errorf("%s, %d bytes: %v, and then %v", name, n, err, again)
			}
			want, ok := complete[n]
			if ok && (err != nil || string(got) != want) {
				t.Errorf("%s, %d bytes: %q, %v", name, n, got, err)
			}
			if !ok && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, %d of %d bytes pass for complete: %q, %v", name, n, len(stream), got, err)
			}
		}
	}
	if err := r.Reset(bytes.NewReader(append(stream, 0))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(&r); err == nil {
		t.Error("a byte after the stream is nothing")
	}
}

func lastOf(complete map[int]string) (last int) {
	for n := range complete {
		last = max(last, n)
	}
	return last
}

// TestReaderRest: Rest gets the bytes after a stream that are no member, and no others.
func TestReaderRest(t *testing.T) {
	ended := errors.New("ended")
	member := string(packed(t, "content", "", ""))
	for rest, want := range map[string]error{
		"": nil, "rest": ended, "\x00": ended, "\x1e\x8b": ended, member: nil, member + "rest": ended,
		"\x1f": io.ErrUnexpectedEOF, "\x1f\x8b": io.ErrUnexpectedEOF, member[:len(member)-1]: io.ErrUnexpectedEOF,
	} {
		var got []byte
		r := Reader{Rest: func(src *bufio.Reader) (err error) {
			got, err = io.ReadAll(src)
			return errors.Join(err, ended)
		}}
		if err := r.Reset(strings.NewReader(member + rest)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(&r); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", rest, err, want)
		}
		if errors.Is(want, ended) && string(got) != strings.TrimPrefix(rest, member) {
			t.Errorf("%q: Rest got %q", rest, got)
		}
	}
}
