// Package chunker cuts an image into chunks and encodes them for the wire: which chunks hold data, which are zeros, and
// whether a chunk is worth compressing.
package chunker
