// Package image reads and writes disk images on this host: raw files and block devices, gzip and Zstandard streams, URLs,
// the standard streams, and manifests that stand in for an image.
//
// Files are touched within Roots alone. Every failure that a user can do something about is a *transfer.Error.
package image
