// Package sandbox is the drives section of the back-end API 1.0, served from sparse files on disk.
//
// It is a working endpoint for trying things out and for CI: what it stores survives a restart, standard (library)
// drives are files that an operator puts into a folder, and faults can be injected at chosen rates. It reads the
// protocol strictly and shares no code with the client of this project, so that neither repeats the other's mistakes:
// whatever a known client sends is accepted, and what is answered is the strictest form that the manual allows.
//
// # The data folder
//
//	lock              held while a Server uses the folder
//	account           the account's and this host's UUID
//	drives/UUID.drive what the API tells about a drive, one "key value" a line
//	drives/UUID.raw   its bytes, sparse
//	standard/img/*    library images, put there by the operator
//	standard/cd/*     library CDs
//
// A file NAME.info beside a library file may set its text keys (description, os, bits, ...). Descriptions are replaced
// atomically and flushed to the disk. The bytes of drives are left to the page cache: they survive the end of the
// process, not a loss of power. encryption:cipher is only a label: nothing is encrypted.
//
// # Limits
//
// There is one account, so readers are stored and answered but give nobody access. An Expect header other than
// 100-continue is answered 417 by net/http before this package sees the request.
package sandbox
