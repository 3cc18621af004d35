package image

import (
	"bytes"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// broken panics when it is read or written.
type broken struct{}

func (broken) Read([]byte) (int, error)  { panic("a mistake") }
func (broken) Write([]byte) (int, error) { panic("a mistake") }

// TestPanicOfStdinIsInternal: a panic in the goroutine that reads standard input is CodeInternal.
func TestPanicOfStdinIsInternal(t *testing.T) {
	_, err := Open(t.Context(), transfer.Std, Options{Stdin: broken{}})
	if transfer.CodeOf(err) != transfer.CodeInternal {
		t.Errorf("got %v, want %s", err, transfer.CodeInternal)
	}
}

// TestPanicOfStdoutIsInternal: a panic in the goroutine that writes standard output, which the
// goroutines of the compression libraries call, is CodeInternal.
func TestPanicOfStdoutIsInternal(t *testing.T) {
	for _, format := range []transfer.Format{transfer.FormatRaw, transfer.FormatGzip, transfer.FormatZstd} {
		sink, err := Create(t.Context(), transfer.Std, CreateOptions{Format: format, Stdout: broken{}})
		if err != nil {
			t.Fatal(err)
		}
		p := bytes.Repeat([]byte("noise"), 1<<20)
		for i := range int64(20) {
			c := transfer.Chunk{Index: i, Off: i * int64(len(p)), Len: len(p)}
			if err = sink.WriteChunk(t.Context(), c, p); err != nil {
				break
			}
		}
		if err == nil {
			err = sink.Commit(t.Context(), new(transfer.Manifest), nil)
		}
		if transfer.CodeOf(err) != transfer.CodeInternal {
			t.Errorf("%s: got %v, want %s", format, err, transfer.CodeInternal)
		}
		closed(t, sink)
	}
}
