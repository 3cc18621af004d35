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

func gzipMember(t *testing.T, text, name, comment string) []byte {
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

// TestTruncatedStreamIsAnError: a stream of three members is complete at the end of each member,
// and truncated at any other byte.
func TestTruncatedStreamIsAnError(t *testing.T) {
	texts := []string{"one, ", "", "three"}
	var stream []byte
	complete := make(map[int]string) // by length
	for i, text := range texts {
		stream = append(stream, gzipMember(t, text, "name", "comment")...)
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
			wantAgain := err
			if err == nil {
				wantAgain = io.EOF
			}
			if _, again := r.Read(make([]byte, 1)); !errors.Is(again, wantAgain) {
				t.Errorf("%s, %d bytes, read again: got %v, want %v", name, n, again, wantAgain)
			}
			want, ok := complete[n]
			if ok && (err != nil || string(got) != want) {
				t.Errorf("%s, %d bytes: got %q, %v; want %q", name, n, got, err, want)
			}
			if !ok && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, %d of %d bytes: got %q, %v; want %v", name, n, len(stream), got, err, io.ErrUnexpectedEOF)
			}
		}
	}
	if err := r.Reset(bytes.NewReader(append(stream, 0))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(&r); err == nil {
		t.Error("a byte after the stream: got no error, want one")
	}
}

func lastOf(complete map[int]string) (last int) {
	for n := range complete {
		last = max(last, n)
	}
	return last
}

// TestTrailingGetsWhatIsNoMember: Trailing gets the bytes after a stream that are no member, and no
// others.
func TestTrailingGetsWhatIsNoMember(t *testing.T) {
	ended := errors.New("ended")
	member := string(gzipMember(t, "content", "", ""))
	for tail, want := range map[string]error{
		"": nil, "tail": ended, "\x00": ended, "\x1e\x8b": ended, member: nil, member + "tail": ended,
		"\x1f": io.ErrUnexpectedEOF, "\x1f\x8b": io.ErrUnexpectedEOF, member[:len(member)-1]: io.ErrUnexpectedEOF,
	} {
		var got []byte
		r := Reader{Trailing: func(src *bufio.Reader) (err error) {
			got, err = io.ReadAll(src)
			return errors.Join(err, ended)
		}}
		if err := r.Reset(strings.NewReader(member + tail)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(&r); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", tail, err, want)
		}
		if errors.Is(want, ended) && string(got) != strings.TrimPrefix(tail, member) {
			t.Errorf("%q: Trailing got %q, want %q", tail, got, strings.TrimPrefix(tail, member))
		}
	}
}
