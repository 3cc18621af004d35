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

func collect(t *testing.T, plan iter.Seq2[Step, error]) []Step {
	t.Helper()
	var steps []Step
	for s, err := range plan {
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s)
	}
	return steps
}

// naivePlan looks at every byte's chunk.
func naivePlan(extents []transfer.Extent, size int64, chunkSize int, holes bool) []Step {
	var steps []Step
	for off := int64(0); off < size; off += int64(chunkSize) {
		s := Step{Chunk: transfer.Chunk{Index: off / int64(chunkSize), Off: off, Len: int(min(int64(chunkSize), size-off))}, Hole: true}
		for _, e := range extents {
			if e.Len > 0 && e.Off < off+int64(s.Len) && off < e.Off+e.Len {
				s.Hole = false
			}
		}
		if holes || !s.Hole {
			steps = append(steps, s)
		}
	}
	return steps
}

func FuzzPlan(f *testing.F) {
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
		plan := Plan(t.Context(), extentsOf(extents...), int64(size), chunkSize, holes)
		want := naivePlan(extents, int64(size), chunkSize, holes)
		if got := collect(t, plan); !slices.Equal(got, want) {
			t.Fatalf("%v of %d bytes in %d, holes %t:\n%v, want\n%v", extents, size, chunkSize, holes, got, want)
		}
		// A consumer that stops early gets just as far, and the plan may be run again.
		stop := rng.IntN(len(want) + 1)
		var got []Step
		for s, err := range plan {
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == stop {
				break
			}
			got = append(got, s)
		}
		if !slices.Equal(got, want[:stop]) {
			t.Fatalf("the first %d are %v, want %v", stop, got, want[:stop])
		}
	})
}

func TestPlanBoundaries(t *testing.T) {
	const c = 4096
	for _, size := range []int64{0, 1, c - 1, c, c + 1, 7*c + 5} {
		for _, extents := range [][]transfer.Extent{nil, {{Off: 0, Len: size}}, {{Off: size, Len: 0}}, {{Off: max(0, size-1), Len: min(1, size)}}} {
			for _, holes := range []bool{false, true} {
				got := collect(t, Plan(t.Context(), extentsOf(extents...), size, c, holes))
				if want := naivePlan(extents, size, c, holes); !slices.Equal(got, want) {
					t.Errorf("%v of %d bytes, holes %t: %v, want %v", extents, size, holes, got, want)
				}
			}
		}
	}
}

func TestPlanRefuses(t *testing.T) {
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
			for _, err := range Plan(t.Context(), extentsOf(bad...), size, c, holes) {
				if last != nil {
					t.Fatalf("%s: something came after %v", name, last)
				}
				last = err
			}
			if transfer.CodeOf(last) != transfer.CodeInvalid {
				t.Errorf("%s: %v", name, last)
			}
		}
	}
}

func TestPlanPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken table")
	extents := func(yield func(transfer.Extent, error) bool) {
		if yield(transfer.Extent{Len: 1}, nil) {
			yield(transfer.Extent{}, broken)
		}
	}
	var steps []Step
	var last error
	for s, err := range Plan(t.Context(), extents, 10*4096, 4096, true) {
		if last = err; err == nil {
			steps = append(steps, s)
		}
	}
	if !errors.Is(last, broken) || len(steps) != 1 {
		t.Errorf("%d steps, %v", len(steps), last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range Plan(ctx, extentsOf(transfer.Extent{Len: 1}), 4096, 4096, true) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("of a canceled plan: %v", err)
		}
	}
}

// TestPlanCost: a huge image costs what its extents cost.
func TestPlanCost(t *testing.T) {
	const size, chunkSize = 16 << 40, transfer.DefaultChunkSize
	var extents []transfer.Extent
	for i := range int64(1000) {
		extents = append(extents, transfer.Extent{Off: i * (size / 1000), Len: 1})
	}
	allocs := testing.AllocsPerRun(1, func() {
		steps := 0
		for s, err := range Plan(t.Context(), extentsOf(extents...), size, chunkSize, false) {
			if err != nil || s.Hole {
				t.Fatal(s, err)
			}
			steps++
		}
		if steps != len(extents) {
			t.Errorf("%d steps for %d extents", steps, len(extents))
		}
	})
	if allocs > 20 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkPlan(b *testing.B) {
	const size = 1 << 40
	for _, holes := range []bool{false, true} {
		b.Run(map[bool]string{false: "data", true: "holes"}[holes], func(b *testing.B) {
			for b.Loop() {
				for _, err := range Plan(b.Context(), extentsOf(transfer.Extent{Len: size / 2}), size, transfer.DefaultChunkSize, holes) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
