package disktest

// Parts is a file of size bytes that has these parts at their offsets, which do not overlap, and
// zeros elsewhere.
func Parts(size int64, parts map[int64][]byte) *File { return &File{R: partsReader(parts), N: size} }

type partsReader map[int64][]byte

// ReadAt reads below the size of the file only.
func (r partsReader) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for at, data := range r {
		switch skip := off - at; {
		case skip < 0 && -skip < int64(len(p)):
			copy(p[-skip:], data)
		case skip >= 0 && skip < int64(len(data)):
			copy(p, data[skip:])
		}
	}
	return len(p), nil
}
