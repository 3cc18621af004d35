// Package sandbox serves the back-end API 1.0 from files on disk: profile, drives, servers,
// resources, server groups and billing.
//
// It is a working endpoint for trials, CI and tests: all it has outlasts a restart, a library of
// standard drives is there from the first start, and faults can be injected at chosen rates. It
// shares no protocol code with the client of this project, so that neither repeats the other's
// mistakes: it accepts what known clients send, and responds in the strictest form that the manual
// allows.
//
// # How a request is served
//
// One table (routes.go) has a row for each command: the pattern of its path, its method rule, its
// handler, and the faults that may hit it. One dispatcher (router.go) finds the row, checks the
// method, finds the object that the path names, injects faults and runs the handler. Handlers are
// in files named after the section of the manual: profile.go, drives*.go, servers*.go,
// resources*.go, servergroups.go and billing*.go. Each kind of object has a store (store.go), for
// which an object is a UUID, or an address, and ordered attributes. A new section needs a file of
// handlers, rows in the table, and a store for each kind of object.
//
// # Servers and their drives
//
// A server runs no operating system. While it runs it claims the drives in its devices: they can be
// read, and not be written, resized or destroyed. An exclusive drive has one such claim, and cannot
// be cloned while it has; a shared drive or a CD has any number. To check claims and to make them
// is one step, because all servers have one lock; it comes before that of a drive.
//
// In place of the operating system a guest (servers_guest.go) obeys a shutdown after some seconds,
// or never, and with Config.GuestWrites writes to the drives, so that a read of them is that of a
// moving target. It writes nothing after the response to stop: a write needs the claim. Close ends
// the guests; the next New starts those of the servers that ran, without a pending shutdown and
// with counters from 0.
//
// # Resources and server groups
//
// Static addresses are in 203.0.113.0/24, and the addresses that auto becomes in 198.51.100.0/24:
// no packet is sent to them. An address or a VLAN that a server's keys name is in use, whether the
// server runs or not, and cannot be destroyed. The keys may also name addresses and VLANs that do
// not exist. A server that is destroyed leaves its groups.
//
// # The library
//
// The first start makes a few standard drives (drives_library_images.go): disks and CDs of 4 MiB
// that boot and halt, with the keys of a library that was captured from the service. Operators can
// delete them, and put their own files into the folders. A file NAME.info next to a library file
// may set its text keys (description, os, bits, ...). A drive's UUID is a hash of its file's name.
//
// # The data folder
//
//	lock                held while a Server uses the folder
//	account             the account's and this host's UUID, secret_key, and what profile/set has set
//	drives/UUID.drive   a drive's description: its attributes, one "key value" a line
//	drives/UUID.raw     its bytes, sparse
//	servers/UUID.server a server's description: its keys, and if it runs since when, and its address
//	servergroups/UUID.group, vlans/UUID.vlan, ips/ADDRESS.ip
//	transactions/UUID.transaction, subscriptions/UUID.subscription
//	standard/img/*      library images
//	standard/cd/*       library CDs
//	standard/made       the library files that were generated, which are not made again
//
// Descriptions are replaced atomically and synced. The bytes of drives are not synced: they outlast
// the process, not a loss of power. encryption:cipher is only a label: nothing is encrypted.
//
// # Money and allowance
//
// Money is counted in whole cents of EUR, and prices are rounded to the nearest cent, once for each
// subscription. Subscriptions are paid when they are made or extended: the balance goes down by
// a transaction, and an order beyond the balance is refused (400, errors:balance). Nothing else
// costs money.
//
// The account may use what it is subscribed to now, and more: burst. Burst is limited by
// Config.Quotas, and there is none when the balance is used up. Drives use disk, servers use cpu
// and mem while they run. A command that would exceed a limit is refused (400, errors:size,
// errors:cpu or errors:mem); what is in use stays, also when a subscription ends. usage/info shows
// all of it.
//
// # Limits
//
// There is one account, so readers are stored and returned, but give no other account access.
// net/http answers an Expect header other than 100-continue with 417 before this package gets the
// request.
package sandbox
