package transfer

import "encoding/binary"

// Entry says that a chunk is done, and what it holds.
type Entry struct {
	Index  int64
	Digest Digest
}

// EntrySize is the length of a packed Entry in bytes: its index, 8 bytes little-endian, then its digest.
const EntrySize = 8 + DigestSize

// AppendEntries packs entries onto b. A ledger is such packs one after another; a later entry of the same chunk
// replaces an earlier one, so packs can be appended without looking at what is there.
func AppendEntries(b []byte, entries []Entry) []byte {
	for i := range entries {
		b = binary.LittleEndian.AppendUint64(b, uint64(entries[i].Index))
		b = append(b, entries[i].Digest[:]...)
	}
	return b
}

// ParseEntries unpacks a ledger. An incomplete entry at the end, which an interrupted append leaves, is ignored.
func ParseEntries(b []byte) []Entry {
	entries := make([]Entry, 0, len(b)/EntrySize)
	for ; len(b) >= EntrySize; b = b[EntrySize:] {
		e := Entry{Index: int64(binary.LittleEndian.Uint64(b))}
		copy(e.Digest[:], b[8:])
		entries = append(entries, e)
	}
	return entries
}
