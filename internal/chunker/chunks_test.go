package chunker

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

func extentsOf(list ...transfer.Extent) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func collect(t *testing.T, chunks iter.Seq2[MappedChunk, error]) (list []MappedChunk) {
	t.Helper()
	for c, err := range chunks {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// naiveChunks compares each chunk with each extent.
func naiveChunks(extents []transfer.Extent, size int64, chunkSize int, holes bool) (list []MappedChunk) {
	for off := int64(0); off < size; off += int64(chunkSize) {
		c := MappedChunk{Hole: true, Chunk: transfer.Chunk{
			Index: off / int64(chunkSize), Off: off, Len: int(min(int64(chunkSize), size-off)),
		}}
		for _, e := range extents {
			if e.Len > 0 && e.Off < off+int64(c.Len) && off < e.Off+e.Len {
				c.Hole = false
			}
		}
		if holes || !c.Hole {
			list = append(list, c)
		}
	}
	return list
}

// FuzzChunks compares Chunks with naiveChunks for random extents.
func FuzzChunks(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, uint16(seed*37), uint8(seed), uint8(seed%9), seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, size uint16, chunk, count uint8, holes bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		chunkSize := 1 + int(chunk)
		var extents []transfer.Extent
		for off, end := int64(0), int64(size); len(extents) < int(count); {
			e := transfer.Extent{Off: off + rng.Int64N(end-off+1)}
			e.Len = rng.Int64N(end - e.Off + 1)
			extents = append(extents, e)
			off = e.Off + e.Len
		}
		chunks := Chunks(t.Context(), extentsOf(extents...), int64(size), chunkSize, holes)
		want := naiveChunks(extents, int64(size), chunkSize, holes)
		if got := collect(t, chunks); !slices.Equal(got, want) {
			t.Fatalf("%v of %d bytes in chunks of %d, holes %t:\ngot  %v\nwant %v",
				extents, size, chunkSize, holes, got, want)
		}
		// A consumer may stop early, and may iterate again.
		stop := rng.IntN(len(want) + 1)
		var got []MappedChunk
		for c, err := range chunks {
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == stop {
				break
			}
			got = append(got, c)
		}
		if !slices.Equal(got, want[:stop]) {
			t.Fatalf("the first %d chunks: got %v, want %v", stop, got, want[:stop])
		}
	})
}

// TestChunksAtBoundarySizes: an image of each size around a multiple of the chunk size has the
// right chunks, without data, with data everywhere, and with one byte of data at its end.
func TestChunksAtBoundarySizes(t *testing.T) {
	const c = 4096
	for _, size := range []int64{0, 1, c - 1, c, c + 1, 7*c + 5} {
		for _, extents := range [][]transfer.Extent{
			nil, {{Off: 0, Len: size}}, {{Off: size, Len: 0}}, {{Off: max(0, size-1), Len: min(1, size)}},
		} {
			for _, holes := range []bool{false, true} {
				got := collect(t, Chunks(t.Context(), extentsOf(extents...), size, c, holes))
				if want := naiveChunks(extents, size, c, holes); !slices.Equal(got, want) {
					t.Errorf("%v of %d bytes, holes %t: got %v, want %v", extents, size, holes, got, want)
				}
			}
		}
	}
}

// TestChunksRejectBadExtents: extents that overlap, descend or leave the image end in one error.
func TestChunksRejectBadExtents(t *testing.T) {
	const c, size = 4096, 10 * 4096
	for name, bad := range map[string][]transfer.Extent{
		"overlap":         {{Off: 0, Len: c + 1}, {Off: c, Len: c}},
		"descending":      {{Off: 2 * c, Len: c}, {Off: 0, Len: c}},
		"past the end":    {{Off: 9 * c, Len: c + 1}},
		"after the end":   {{Off: size + 1, Len: 0}},
		"negative length": {{Off: c, Len: -1}},
		"negative offset": {{Off: -1, Len: 1}},
		"overflow":        {{Off: c, Len: 1<<63 - 1}},
	} {
		for _, holes := range []bool{false, true} {
			var last error
			for _, err := range Chunks(t.Context(), extentsOf(bad...), size, c, holes) {
				if last != nil {
					t.Fatalf("%s: yielded again after %v", name, last)
				}
				last = err
			}
			if transfer.CodeOf(last) != transfer.CodeInvalid {
				t.Errorf("%s: got %v, want %s", name, last, transfer.CodeInvalid)
			}
		}
	}
}

// TestChunksYieldErrorsOfTheirExtents, and that of a canceled context.
func TestChunksYieldErrorsOfTheirExtents(t *testing.T) {
	broken := errors.New("broken table")
	extents := func(yield func(transfer.Extent, error) bool) {
		if yield(transfer.Extent{Len: 1}, nil) {
			yield(transfer.Extent{}, broken)
		}
	}
	count := 0
	var last error
	for _, err := range Chunks(t.Context(), extents, 10*4096, 4096, true) {
		if last = err; err == nil {
			count++
		}
	}
	if !errors.Is(last, broken) || count != 1 {
		t.Errorf("got %d chunks and %v, want 1 and %v", count, last, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range Chunks(ctx, extentsOf(transfer.Extent{Len: 1}), 4096, 4096, true) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("with a canceled context: got %v, want %v", err, context.Canceled)
		}
	}
}

// TestChunksCostAsMuchAsTheirExtents: the size of an image costs nothing by itself.
func TestChunksCostAsMuchAsTheirExtents(t *testing.T) {
	const size, chunkSize = 16 << 40, transfer.DefaultChunkSize
	var extents []transfer.Extent
	for i := range int64(1000) {
		extents = append(extents, transfer.Extent{Off: i * (size / 1000), Len: 1})
	}
	allocs := testing.AllocsPerRun(1, func() {
		count := 0
		for c, err := range Chunks(t.Context(), extentsOf(extents...), size, chunkSize, false) {
			if err != nil || c.Hole {
				t.Fatalf("got chunk %+v and error %v, want a chunk with data", c, err)
			}
			count++
		}
		if count != len(extents) {
			t.Errorf("got %d chunks, want %d", count, len(extents))
		}
	})
	if allocs > 20 {
		t.Errorf("got %v allocations, want at most 20", allocs)
	}
}

func BenchmarkChunks(b *testing.B) {
	const size = 1 << 40
	for _, holes := range []bool{false, true} {
		b.Run(map[bool]string{false: "data", true: "holes"}[holes], func(b *testing.B) {
			for b.Loop() {
				half := extentsOf(transfer.Extent{Len: size / 2})
				for _, err := range Chunks(b.Context(), half, size, transfer.DefaultChunkSize, holes) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
