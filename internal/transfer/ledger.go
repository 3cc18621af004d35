package transfer

import "encoding/binary"

// Entry says that a chunk is done, and has the digest of its bytes.
type Entry struct {
	Index  int64
	Digest Digest
}

// EntrySize is the length of an encoded Entry in bytes: its index, 8 bytes little-endian, then its
// digest.
const EntrySize = 8 + DigestSize

// AppendEntries appends the encoded entries to b. A stored ledger is a concatenation of such
// encodings. A later entry of a chunk replaces an earlier one, so a writer appends without reading
// the ledger.
func AppendEntries(b []byte, entries []Entry) []byte {
	for i := range entries {
		b = binary.LittleEndian.AppendUint64(b, uint64(entries[i].Index))
		b = append(b, entries[i].Digest[:]...)
	}
	return b
}

// ParseEntries decodes a stored ledger. It ignores an incomplete entry at the end, which an
// interrupted append leaves.
func ParseEntries(b []byte) []Entry {
	entries := make([]Entry, 0, len(b)/EntrySize)
	for ; len(b) >= EntrySize; b = b[EntrySize:] {
		e := Entry{Index: int64(binary.LittleEndian.Uint64(b))}
		copy(e.Digest[:], b[8:])
		entries = append(entries, e)
	}
	return entries
}
