package sandbox

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"github.com/transferd/transferd/internal/fsx"
)

// Config has the data folder, the account and the faults of a Server.
type Config struct {
	// Dir is the data folder, made with mode 0700 if it is missing. One Server at a time uses it.
	Dir string
	// User and Password are the credentials of the one account. The account's UUID (profile/info)
	// is accepted in place of User. Both are required.
	User, Password string
	// Balance is the account's money, an amount in EUR such as 10.00. It is applied to a new
	// account, and later when it is not the one that was applied last: a restart with the same one
	// keeps the balance. Empty is 1000.00 for a new account, and no change for others.
	Balance string
	// Quotas limit what the account may use beyond its subscriptions. If a resource is given twice,
	// the last counts.
	Quotas []Quota
	// Faults are injected from the start; see ParseFault.
	Faults []Fault
	// Seed is that of the random numbers that choose which requests faults hit; 0 picks one.
	Seed uint64
	// GuestWrites is how much each server that runs writes to its drives, in bytes a second; 0:
	// nothing. It overwrites random pages, also what the drives hold.
	GuestWrites int64
	// CloneInUse allows clones of exclusive drives that a running server holds. Without it they are
	// refused as busy, as on endpoints that copy only what nobody writes.
	CloneInUse bool
	// Intercept, if set, gets each authenticated request first; it returns true if it has
	// responded. It may run the request by Server.Plain with a recorder, and respond with something
	// else.
	Intercept func(http.ResponseWriter, *http.Request) bool

	now func() time.Time // for tests: the clock of billing
}

// Server is the API over one data folder. Its methods may be called at any time from any goroutine.
type Server struct {
	cfg     Config
	account string // UUID of the owner of all drives
	host    string // UUID that claims begin with
	user    [sha256.Size]byte
	owner   [sha256.Size]byte
	secret  [sha256.Size]byte
	key     [sha256.Size]byte // secret_key of the profile, for the login with the UUID

	lock      *flock.Flock
	routes    []route
	drives    driveStore
	standard  *library
	servers   *serverStore
	vlans     *store[*vlan]
	addresses *store[*staticIP]
	groups    *store[*serverGroup]
	profile   *profile
	billing   *billing
	faults    atomic.Pointer[faultSet]
	chooser   *faultChooser
	counts    faultCounts

	growth   sync.Mutex   // locked while drives are made or grow, if there is a limit
	received atomic.Int64 // bytes of drives that clients have written
	sent     atomic.Int64 // bytes of drives that clients have read

	closing chan struct{}   // closed by Close
	mu      sync.Mutex      // orders the start of a task against Close
	tasks   sync.WaitGroup  // clones that copy, and servers that run
	slots   chan struct{}   // one for each copy that may run
	copied  func(id string) // for tests: called when a clone's bytes are copied, before it becomes active
}

// New opens the data folder, loads the objects in it, and starts the servers that ran when it was
// closed.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.now == nil {
		cfg.now = time.Now
	}
	s := &Server{
		cfg: cfg, chooser: newFaultChooser(cfg.Seed),
		closing: make(chan struct{}), slots: make(chan struct{}, maxCopies),
	}
	if err := s.SetFaults(cfg.Faults); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		if inUse := new(InUseError); errors.As(err, &inUse) {
			return nil, err
		}
		return nil, fmt.Errorf("open data folder %s: %w", cfg.Dir, err)
	}
	s.user, s.owner = sha256.Sum256([]byte(cfg.User)), sha256.Sum256([]byte(s.account))
	s.secret, s.key = sha256.Sum256([]byte(cfg.Password)), sha256.Sum256([]byte(s.profile.secret))
	s.routes = newRoutes(s.commands())
	if err := s.resume(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the servers that ran: %w", err), s.Close())
	}
	return s, nil
}

// InUseError is the error of a data folder that another Server uses.
type InUseError struct {
	Dir     string
	Process int // of the other Server; 0: not known
}

// Error implements error.
func (e *InUseError) Error() string {
	if e.Process == 0 {
		return "another sandbox uses the data folder " + e.Dir
	}
	return fmt.Sprintf("another sandbox (process %d) uses the data folder %s", e.Process, e.Dir)
}

// check returns an error if a value is missing or out of its range. Faults check themselves.
func (cfg *Config) check() error {
	switch {
	case cfg.User == "" || cfg.Password == "":
		return errors.New("a user and a password are required")
	case cfg.Dir == "":
		return errors.New("a data folder is required")
	case cfg.GuestWrites < 0:
		return errors.New("the rate of guests' writes must not be negative")
	}
	for _, q := range cfg.Quotas {
		if err := q.check(); err != nil {
			return err
		}
	}
	if cfg.Balance != "" {
		if _, err := ParseBalance(cfg.Balance); err != nil {
			return err
		}
	}
	return nil
}

// open locks and reads the data folder.
func (s *Server) open() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	s.lock = flock.New(filepath.Join(s.cfg.Dir, "lock"), flock.SetPermissions(0o600))
	switch free, err := s.lock.TryLock(); {
	case err != nil:
		return fmt.Errorf("lock data folder: %w", err)
	case !free:
		return &InUseError{Dir: s.cfg.Dir, Process: fsx.LockHolder(s.lock.Path())}
	}
	err := s.load()
	if err != nil {
		_ = s.lock.Unlock()
	}
	return err
}

func (s *Server) load() (err error) {
	if s.profile, err = openProfile(filepath.Join(s.cfg.Dir, "account"), s.cfg.User); err != nil {
		return err
	}
	s.account, s.host = s.profile.uuid, s.profile.host
	if s.billing, err = openBilling(s.cfg.Dir, s.cfg.Balance, s.cfg.now); err != nil {
		return err
	}
	if s.drives, err = openDrives(filepath.Join(s.cfg.Dir, "drives")); err != nil {
		return err
	}
	if s.standard, err = openLibrary(filepath.Join(s.cfg.Dir, "standard")); err != nil {
		return err
	}
	if s.servers, err = openServers(s.cfg.Dir); err != nil {
		return err
	}
	if s.vlans, err = openVLANs(s.cfg.Dir); err != nil {
		return err
	}
	if s.addresses, err = openAddresses(s.cfg.Dir); err != nil {
		return err
	}
	s.groups, err = openServerGroups(s.cfg.Dir)
	return err
}

// Close interrupts clones, whose drives become inactive, and guests, which run again after the next
// New, and unlocks the data folder. Shut down the HTTP server first: requests after Close get 500.
// A second Close does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.isClosed() {
		s.mu.Unlock()
		return nil
	}
	close(s.closing)
	s.mu.Unlock()
	s.tasks.Wait()
	return s.lock.Unlock()
}

// beginTask counts a task that Close waits for, until tasks.Done. After Close it returns an error.
func (s *Server) beginTask() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed() {
		return internalError(errClosed)
	}
	s.tasks.Add(1)
	return nil
}

func (s *Server) isClosed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// Handler is the whole endpoint: authentication, Config.Intercept, faults and commands.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.authorized(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="sandbox", charset="UTF-8"`)
			err := statusErrorf(http.StatusUnauthorized, "system", "Authentication is missing or wrong.")
			newRequest(w, r).sendError(err)
			return
		}
		if s.cfg.Intercept != nil && s.cfg.Intercept(w, r) {
			return
		}
		s.serve(w, r, s.faults.Load())
	})
}

// Plain is the commands alone, without authentication, Config.Intercept and faults.
func (s *Server) Plain() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, &faultSet{})
	})
}

// authorized checks Basic credentials in constant time: user and password, or the account's UUID
// and the password or the secret_key of the profile.
func (s *Server) authorized(r *http.Request) bool {
	name, password, ok := r.BasicAuth()
	user, secret := sha256.Sum256([]byte(name)), sha256.Sum256([]byte(password))
	owner := sha256.Sum256([]byte(strings.ToLower(name)))
	isOwner := subtle.ConstantTimeCompare(owner[:], s.owner[:])
	known := subtle.ConstantTimeCompare(user[:], s.user[:]) | isOwner
	byPassword := known & subtle.ConstantTimeCompare(secret[:], s.secret[:])
	return ok && byPassword|isOwner&subtle.ConstantTimeCompare(secret[:], s.key[:]) == 1
}

// serve handles an authenticated request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, faults *faultSet) {
	req := newRequest(w, r)
	resp, err := s.dispatch(req, faults)
	if err != nil {
		req.sendError(err)
		return
	}
	req.send(resp)
}
