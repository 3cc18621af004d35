package worker

import (
	"bytes"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestFakeSourcesConform: the sources of these tests keep the contract of transfer.Source.
func TestFakeSourcesConform(t *testing.T) {
	for name, open := range map[string]func(content []byte) transfer.Source{
		"image":    func(content []byte) transfer.Source { return newMemImage(content) },
		"stream":   func(content []byte) transfer.Source { return newStream(content) },
		"manifest": func(content []byte) transfer.Source { return manifestOf(content) },
	} {
		t.Run(name, func(t *testing.T) {
			transfertest.Source(t, transfertest.Shape{}, func(_ *testing.T, content []byte) transfer.Source {
				return open(content)
			})
		})
	}
}

// TestFakeSinksConform: the sinks of these tests keep the contract of transfer.Sink.
func TestFakeSinksConform(t *testing.T) {
	for name, wrap := range map[string]func(m *memImage) transfer.Sink{
		"image":      func(m *memImage) transfer.Sink { return m },
		"write back": func(m *memImage) transfer.Sink { return writeBackSink{m} },
		"in order":   func(m *memImage) transfer.Sink { return orderedSink{m} },
		"cached": func(m *memImage) transfer.Sink {
			c := newCachedSink()
			c.memImage = m
			return c
		},
		"cleared": func(m *memImage) transfer.Sink {
			return &traitSink{memImage: m, traits: transfer.Traits{
				Rewritable: true, ReadBack: transfer.ReadBackAtOnce, Zeros: transfer.ZerosCleared,
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			transfertest.Sink(t, transfertest.Shape{}, func(_ *testing.T, size int64) transfertest.Target {
				m := newMemImage(make([]byte, size))
				m.blank = true
				return transfertest.Target{
					Open:    func(*testing.T, bool) transfer.Sink { return wrap(m) },
					Stored:  func(*testing.T) ([]byte, bool) { return bytes.Clone(m.data), true },
					InPlace: true,
				}
			})
		})
	}
}
