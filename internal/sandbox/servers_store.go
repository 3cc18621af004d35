package sandbox

import (
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// keyAddress is the key of a stored server that has its address.
const keyAddress = "sandbox:address"

// virtualServer is one server of the account. The lock of the store guards its fields, except those
// of entry, which do not change.
type virtualServer struct {
	entry
	keys object // as create and set take them: see serverKeyRule

	gone    bool
	started time.Time // zero: it is stopped
	address string    // the value of keys that are auto while it runs
	guest   *guest    // of this run
	disks   []*disk   // of this run or the last one, for their counters
	copies  []*drive  // that a clone of a server made for this one
}

// serverStore has the account's servers.
//
// mu is locked while servers and their claims change: that two servers start at the same time is
// thus impossible, and to claim several drives is one step. It is locked before that of a drive,
// and never held while a request waits for its client.
type serverStore struct {
	*store[*virtualServer]
	mu    sync.RWMutex
	lease int // the last part of the dynamic address that was given last
}

// openServers reads the servers in dir. Those that ran do not run yet: see Server.resume.
func openServers(dir string) (*serverStore, error) {
	st, err := openStore(filepath.Join(dir, "servers"), "server", loadServer)
	return &serverStore{store: st}, err
}

// loadServer is the inverse of virtualServer.description.
func loadServer(_ string, o object) (*virtualServer, error) {
	v := new(virtualServer)
	for _, p := range o {
		if _, ok := serverKeyRule(p.key); ok {
			v.keys.add(p.key, p.value)
		}
	}
	started, ok := o.get("started")
	if !ok {
		return v, nil
	}
	seconds, err := strconv.ParseInt(started, 10, 64)
	v.started = time.Unix(seconds, 0)
	v.address, _ = o.get(keyAddress)
	return v, err
}

// description implements entity.
func (v *virtualServer) description() object {
	o := v.keys[:len(v.keys):len(v.keys)]
	if v.running() {
		o.add("started", strconv.FormatInt(v.started.Unix(), 10))
		if v.address != "" {
			o.add(keyAddress, v.address)
		}
	}
	return o
}

// running reports whether the server runs.
func (v *virtualServer) running() bool { return !v.started.IsZero() }

// number is the value of cpu or mem.
func (v *virtualServer) number(key string) int64 {
	text, _ := v.keys.get(key)
	n, _ := strconv.ParseInt(text, 10, 64) // checked when it was set
	return n
}

// exists returns an error if the server was destroyed since the request found it.
func (v *virtualServer) exists() error {
	if v.gone {
		return notFound(http.StatusNotFound, kindServer, v.id)
	}
	return nil
}
