package transfer

import (
	"slices"
	"time"
)

// Mode is how a job reads a source drive that a running server holds.
type Mode string

// The modes. Without one, a drive that nobody holds is read as it is, and one that a server holds as
// with ModeClone.
const (
	ModeLive  Mode = "live"  // as it is, while the server may write to it
	ModeClone Mode = "clone" // its endpoint clones it, and the clone is read and then destroyed
	// ModeQuiesce is ModeClone while the servers that hold the drive are shut down. They are started
	// again as soon as the drive is cloned.
	ModeQuiesce Mode = "quiesce"
)

// DefaultQuiesceTimeout is how long servers may take to shut down.
const DefaultQuiesceTimeout = Seconds(5 * time.Minute)

// StoppedServer is a server that a job shuts down, and has to start again. It is in the plan before
// the shutdown is requested.
type StoppedServer struct {
	UUID    string    `json:"uuid"`
	Config  string    `json:"config"`            // digest of its configuration; it is started only if that is the same
	Asked   time.Time `json:"asked,omitzero"`    // when its shutdown was first requested (store's clock); zero: never
	Stopped bool      `json:"stopped,omitempty"` // it was seen stopped after that
	Started bool      `json:"started,omitempty"` // the job has requested its start after that
	Left    string    `json:"left,omitempty"`    // why it stays stopped; empty: it does not
}

// InUse says that running servers held the source drive of a job.
type InUse struct {
	Mode    Mode     `json:"mode"`    // how the drive was read
	Servers []string `json:"servers"` // UUIDs
}

// with returns u with more servers. u may be nil.
func (u *InUse) with(mode Mode, servers []string) *InUse {
	next := &InUse{Mode: mode}
	if u != nil {
		next.Servers = slices.Clone(u.Servers)
	}
	for _, server := range servers {
		if !slices.Contains(next.Servers, server) {
			next.Servers = append(next.Servers, server)
		}
	}
	return next
}

// NoteInUse adds servers that held the source drive. It does nothing without any.
func (p *Progress) NoteInUse(mode Mode, servers []string) {
	if len(servers) > 0 {
		p.InUse = p.InUse.with(mode, servers)
	}
}

// validateMode checks the mode. What the target is does not matter.
func (s *Spec) validateMode() error {
	if s.Mode != ModeQuiesce && (s.QuiesceTimeout != 0 || s.ForceStop || s.AllowNewAddress) {
		return invalid("give --mode quiesce too, or leave them out",
			"--quiesce-timeout, --force-stop and --allow-new-address are for --mode quiesce")
	}
	if s.QuiesceTimeout < 0 || s.QuiesceTimeout%Seconds(time.Second) != 0 {
		return invalid("use whole seconds or minutes, such as 5m",
			"--quiesce-timeout: %s is not a timeout", time.Duration(s.QuiesceTimeout))
	}
	switch s.Mode {
	case "":
		if s.Kind == Migrate {
			return invalid("use --mode quiesce", "a migration clones all drives at one point in time")
		}
		return nil
	case ModeLive, ModeClone, ModeQuiesce:
	default:
		return invalid("use live, clone or quiesce", "--mode: %q is not a mode", s.Mode)
	}
	if s.Kind == Migrate && s.Mode == ModeQuiesce {
		return nil
	}
	if s.Kind != Download && s.Kind != Clone {
		return invalid("leave --mode out", "only a job that copies a drive has a mode")
	}
	return nil
}
