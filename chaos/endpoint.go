package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/sandbox"
)

// endpoint is a sandbox that can be taken down.
type endpoint struct {
	names   []string // in configs; each name has another spelling of the one URL
	address string
	server  *sandbox.Server
	mu      sync.Mutex
	http    *http.Server
	writes  int
}

// faultsOf returns every kind of fault at a random rate. corruptReads is the rate of corrupt reads
// in percent.
func faultsOf(dice *rand.Rand, corruptReads float64) (faults []sandbox.Fault, err error) {
	var specs []string
	for _, kind := range []string{"409", "504", "500", "reset", "truncate", "corrupt-write"} {
		specs = append(specs, fmt.Sprintf("%s=%.2f%%", kind, dice.Float64()*3))
	}
	specs = append(specs, fmt.Sprintf("corrupt-read=%.2f%%", corruptReads), fmt.Sprintf("latency=%dms", dice.IntN(10)),
		fmt.Sprintf("bandwidth=%dM", 10+dice.IntN(40)), "imaging=500ms")
	for _, spec := range specs {
		f, err := sandbox.ParseFault(spec)
		if err != nil {
			return nil, err
		}
		faults = append(faults, f)
	}
	return faults, nil
}

func newEndpoint(names []string, dir string, dice *rand.Rand, corruptReads float64) (*endpoint, error) {
	faults, err := faultsOf(dice, corruptReads)
	if err != nil {
		return nil, err
	}
	e := &endpoint{names: names, address: freeAddress(dice)}
	e.server, err = sandbox.New(sandbox.Config{
		Dir: dir, User: user, Password: password, Faults: faults, Seed: dice.Uint64() | 1, Intercept: e.count,
	})
	if err != nil {
		return nil, err
	}
	return e, e.up()
}

func (e *endpoint) name() string { return e.names[0] }

// host is the host name in its URLs. Relays resolve it to its address.
func (e *endpoint) host() string { return e.name() + hostSuffix }

const hostSuffix = ".chaos.test"

// urls returns one spelling of the URL for each name.
func (e *endpoint) urls() []string {
	return []string{"http://" + e.host(), "HTTP://" + strings.ToUpper(e.host()) + ":80/"}[:len(e.names)]
}

// freeAddress returns an address with a port below the ephemeral ones (ip(7)), so no outgoing
// connection gets the port while the endpoint is down.
func freeAddress(dice *rand.Rand) string {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+dice.IntN(10_000))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
}

// count counts the write calls.
func (e *endpoint) count(_ http.ResponseWriter, r *http.Request) bool {
	if strings.Contains(r.URL.Path, "/write") {
		e.mu.Lock()
		e.writes++
		e.mu.Unlock()
	}
	return false
}

func (e *endpoint) up() error {
	listener, err := net.Listen("tcp", e.address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: e.server.Handler(), ReadHeaderTimeout: 10 * time.Second}
	e.mu.Lock()
	e.http = server
	e.mu.Unlock()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Println("endpoint", e.name(), err)
		}
	}()
	return nil
}

// down closes all connections and accepts no more.
func (e *endpoint) down() {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.http.Close()
}
