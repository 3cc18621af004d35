// Package image reads and writes disk images on this host, and from URLs.
//
// The package separates where bytes are stored from what they mean:
//
//   - A medium is a file, a block device, the resource behind a URL (with ranges or without), or
//     standard input. It has a size and an identity. If it can be read by offset, it has extents.
//     It has no format.
//   - A format is a row of one table: the signatures of its files, the endings of their names, and
//     the function that decodes them, or the command that converts them. The content decides the
//     format, unless a job or the manifest of the file does. The same table checks the content of a
//     compressed file.
//
// Open combines the two. A raw image on a medium with offsets is a transfer.RandomAccess, every
// other combination a transfer.Stream. OpenImageOrManifest also opens manifests, which are
// transfer.Digests.
//
// Targets have two parts, too: a destination (PATH.partial, a block device, standard output), and a
// sink over it, which writes a raw image by offset or any format in order. Create combines them.
//
// The package opens only files below Roots. Every failure that a user can act on is a
// *transfer.Error.
package image
