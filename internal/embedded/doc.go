// Package embedded runs a Redis for a transferd that has none configured: a redis-server as a child
// process, or, where that program is not installed, a server in this process with a journal on
// disk.
//
// Both listen on a Unix socket that only the user of this process can reach, and both sync each
// write to disk before they acknowledge it. The package does not depend on jobs: a Schema lists the
// keys that the journal must keep.
//
// A transferd ends its redis-server when it stops. If the transferd is killed, redis-server keeps
// running for 5 minutes, so that the next transferd can adopt it with all its data. The parent of
// redis-server is a small process, the keeper, which runs the executable of the program. So a
// program that uses this package calls KeepIfAsked first:
//
//	func main() {
//		embedded.KeepIfAsked()
//		r, err := embedded.Start(ctx, embedded.Config{Dir: dir, Server: path, Schema: schema, Log: log})
//		...
//		defer r.Close()
//		// connect to r.URL(); other processes find it by embedded.Find(dir)
//	}
package embedded
