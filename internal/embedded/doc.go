// Package embedded runs a Redis for a transferd that has none configured: a redis-server as a child process, or where the
// program is missing, a server in this process with a journal on disk.
//
// Both listen on a Unix socket that only the user of this process can reach, and both keep every acknowledged write. The
// package knows no jobs: a Schema says which keys the journal of the server in this process must keep.
//
// A redis-server is ended by its transferd. If that is killed, it lives on for the next one, for
// some minutes: its parent is a small process, the keeper, which is this program again, and so a
// program that uses this package begins with KeepIfAsked.
package embedded
