// Package chunker cuts an image into chunks. It finds the chunks that hold data from the extents of
// a sparse image, detects chunks of zeros, and pools the buffers for chunks.
package chunker
