// Package verify proves that bytes are the ones they should be: chunk digests, the comparison of what was read back,
// and the manifest file that keeps the proof.
package verify
