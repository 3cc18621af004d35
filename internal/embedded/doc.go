// Package embedded runs a Redis for a transferd that has none configured: a redis-server as a child process, or where the
// program is missing, a server in this process with a journal on disk.
//
// Both listen on a Unix socket that only the user of this process can reach, and both keep every acknowledged write. The
// package knows no jobs: a Schema says which keys the journal of the server in this process must keep.
//
// A transferd ends its redis-server. If the transferd is killed, redis-server keeps running for 5
// minutes, so that the next transferd can take it over. The parent of redis-server is a small
// process, the keeper, which runs the executable of the program. So a program that uses this
// package calls KeepIfAsked first.
package embedded
