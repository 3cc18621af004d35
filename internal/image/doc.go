// Package image reads and writes disk images on this host, and from URLs.
//
// What holds the bytes is one thing, what they mean is another:
//
//   - A medium is a file or block device, what is behind a URL (with ranges or without), or
//     standard input. It has a size, an identity and, if it can be read by offset, extents; it has
//     no format.
//   - A format is a row of one table: the signatures of its files, what their names end in, and how
//     an image is read from a medium, or the command that converts it. The content decides, in one
//     place, unless a job or the manifest of the file says how the image is stored. The
//     content of a compressed file is checked by the same table.
//
// Open puts the two together. A raw image on a medium with offsets makes a transfer.RandomAccess,
// every other combination a transfer.Stream. OpenReference opens manifests as well, which make
// transfer.Digests.
//
// Targets are made of two parts, too: a place (PATH.partial, a block device, standard output) and
// the sink above it, which writes a raw image by offset or any format in order. Create puts them
// together.
//
// Files are only touched below Roots. Every failure that a user can do something about is a
// *transfer.Error.
package image
