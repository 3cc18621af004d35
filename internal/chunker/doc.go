// Package chunker cuts an image into chunks: which of them hold data, which are zeros, and the buffers that carry them.
package chunker
