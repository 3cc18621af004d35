// Package embedded runs a Redis for a transferd that has none configured: a redis-server as a child process, or where the
// program is missing, a server in this process with a journal on disk.
//
// Both listen on a Unix socket that only the user of this process can reach, and both keep every acknowledged write. The
// package knows no jobs: a Schema says which keys the journal of the server in this process must keep.
package embedded
