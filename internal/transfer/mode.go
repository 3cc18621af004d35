package transfer

import "slices"

// Mode is how a job reads a source drive that a running server holds.
type Mode string

// The modes. Without one, a drive that nobody holds is read as it is, and one that a server holds as
// with ModeClone.
const (
	ModeLive  Mode = "live"  // as it is, while the server may write to it
	ModeClone Mode = "clone" // its endpoint clones it, and the clone is read and then destroyed
)

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
	switch s.Mode {
	case "":
		return nil
	case ModeLive, ModeClone:
	default:
		return invalid("use live or clone", "--mode: %q is not a mode", s.Mode)
	}
	if s.Kind != Download && s.Kind != Clone {
		return invalid("leave --mode out", "only a job that copies a drive has a mode")
	}
	return nil
}
