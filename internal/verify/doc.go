// Package verify computes and compares digests: the BLAKE3 digest of a chunk, the chunks root over
// all of them, the SHA-256 of an image, and the manifest file that holds them.
package verify
