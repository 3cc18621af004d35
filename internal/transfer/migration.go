package transfer

import (
	"slices"
	"time"
)

// Migration describes how a server moves to another endpoint, and what is done of that. It is part
// of a job's JSON, and the plan that `transferctl migrate` prints.
type Migration struct {
	Name     string          `json:"name"`             // of the new server
	Server   string          `json:"server,omitempty"` // UUID of the new server; empty: not made yet
	Moved    bool            `json:"moved,omitempty"`  // the server was moved before: there is nothing to do
	Running  bool            `json:"running"`          // so it is shut down while its drives are cloned
	Started  bool            `json:"started,omitempty"`
	Drives   []MigratedDrive `json:"drives"`
	Networks []MigratedNIC   `json:"networks"`
	Space    []Space         `json:"space"`
	Estimate Estimate        `json:"estimate"`
	Findings []Finding       `json:"findings"`
	Downtime *Downtime       `json:"downtime,omitempty"` // nil: the server was not shut down, or not measured
	// Comparison compares the new server with the old one; nil: not done yet.
	Comparison *Comparison `json:"comparison,omitempty"`
}

// MigratedDrive is a drive of a server that moves.
type MigratedDrive struct {
	Device string `json:"device"`
	Source string `json:"source"` // UUID
	Name   string `json:"name"`
	Size   int64  `json:"size"`             // bytes
	Media  string `json:"media"`            // disk or cdrom
	Job    string `json:"job,omitempty"`    // that copies it; empty: not enqueued yet
	State  State  `json:"state,omitempty"`  // of that job
	Target string `json:"target,omitempty"` // UUID of the copy; empty: not known yet
}

// MigratedNIC is a network or an address of a server that moves.
type MigratedNIC struct {
	Key    string `json:"key"` // of the server, such as nic:0:dhcp or nic:1:vlan
	Source string `json:"source"`
	Target string `json:"target,omitempty"` // empty: there is none
}

// Space is the disk that a migration needs on an endpoint.
type Space struct {
	Endpoint string `json:"endpoint"`
	Needed   int64  `json:"needed"`            // bytes
	Left     *int64 `json:"left,omitempty"`    // bytes; nil: not known, or not limited
	Balance  string `json:"balance,omitempty"` // empty: not known
}

// Estimate is how long a migration takes, from what was measured before.
type Estimate struct {
	Seconds  *float64 `json:"seconds"`          // of the copy; nil: not known
	Rate     float64  `json:"rate,omitempty"`   // bytes a second, on which Seconds is based
	Jobs     int      `json:"jobs,omitempty"`   // how many that rate was measured with
	Downtime *float64 `json:"downtime_seconds"` // of the source server; nil: not known
}

// Downtime is how long a server was down while its drives were cloned, in seconds.
type Downtime struct {
	Shutdown float64 `json:"shutdown"` // from the request to shut down until it was down
	Clone    float64 `json:"clone"`    // from then until it was started again
}

// Severity says whether a Finding prevents what was planned.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
	SeverityInfo    Severity = "info"
)

// Finding is something that a plan cannot carry out, or not as a user may expect.
type Finding struct {
	Severity Severity `json:"severity"`
	Code     Code     `json:"code,omitempty"` // of an error
	Item     string   `json:"item"`           // what it concerns
	Cause    string   `json:"cause"`
	Remedy   string   `json:"remedy,omitempty"`
}

// Err returns the first finding that is an error, as an error; nil: none is.
func (m *Migration) Err() error {
	for i := range m.Findings {
		if f := &m.Findings[i]; f.Severity == SeverityError {
			return Errorf(f.Code, f.Remedy, "%s: %s", f.Item, f.Cause)
		}
	}
	return nil
}

// Size returns the size of all drives in bytes.
func (m *Migration) Size() (sum int64) {
	for i := range m.Drives {
		sum += m.Drives[i].Size
	}
	return sum
}

// Clone returns a copy that shares no slice with m.
func (m *Migration) Clone() *Migration {
	next := *m
	next.Drives, next.Networks = slices.Clone(m.Drives), slices.Clone(m.Networks)
	next.Space, next.Findings = slices.Clone(m.Space), slices.Clone(m.Findings)
	return &next
}

// AddPart adds what a part of the job has done.
func (p *Progress) AddPart(part *Progress) {
	p.Chunks.Total += part.Chunks.Total
	p.Chunks.Done += part.Chunks.Done
	p.Chunks.Zero += part.Chunks.Zero
	p.Chunks.Sent += part.Chunks.Sent
	p.Chunks.Verified += part.Chunks.Verified
	p.Bytes.Total += part.Bytes.Total
	p.Bytes.Done += part.Bytes.Done
	p.Bytes.Read += part.Bytes.Read
	p.Bytes.WireOut += part.Bytes.WireOut
	p.Bytes.WireIn += part.Bytes.WireIn
	p.Encoding.Raw += part.Encoding.Raw
	p.Encoding.Gzip += part.Encoding.Gzip
	p.Retries.Conflict += part.Retries.Conflict
	p.Retries.Timeout += part.Retries.Timeout
	p.Retries.Server += part.Retries.Server
	p.Retries.Network += part.Retries.Network
	p.Retries.Mismatch += part.Retries.Mismatch
	p.Verified = p.Verified && part.Verified
}

// Comparison compares a new server with the old one, field by field.
type Comparison struct {
	Equal       int          `json:"equal"` // how many fields are equal
	Differences []Difference `json:"differences"`
}

// Unexpected returns the fields that differ and should not.
func (c *Comparison) Unexpected() (fields []string) {
	for i := range c.Differences {
		if c.Differences[i].Why == "" {
			fields = append(fields, c.Differences[i].Field)
		}
	}
	return fields
}

// Difference is a field in which the new server differs from the old one.
type Difference struct {
	Field  string `json:"field"`
	Source string `json:"source,omitempty"` // empty: it has no such field
	Target string `json:"target,omitempty"`
	// Why says why they must differ; empty: they should not.
	Why string `json:"why,omitempty"`
}

// MigrationPlan is what all attempts of a migration keep.
type MigrationPlan struct {
	// Config is the digest of the server's configuration when all drives were cloned; empty: they are
	// not.
	Config string           `json:"config,omitempty"`
	Drives []MigratingDrive `json:"drives"`
	// Requested is when the new server was last requested (store's clock); zero: it was not.
	Requested time.Time `json:"requested,omitzero"`
	Server    string    `json:"server,omitempty"` // UUID of the new server
}

// MigratingDrive is a drive of a MigrationPlan.
type MigratingDrive struct {
	Device   string   `json:"device"`
	Drive    string   `json:"drive"` // UUID
	Name     string   `json:"name"`
	Tags     []string `json:"tags,omitempty"`    // of the copy
	Readers  []string `json:"readers,omitempty"` // of the copy
	Snapshot Snapshot `json:"snapshot,omitzero"` // the clone that is copied
	Job      string   `json:"job,omitempty"`     // that copies the clone. It is in the plan before it is enqueued
	Copy     string   `json:"copy,omitempty"`    // UUID of the copy, once the job has succeeded
}

// Cloned reports whether all drives have been cloned at one point in time.
func (p *MigrationPlan) Cloned() bool { return p.Config != "" }

// Copied reports whether all copies are complete.
func (p *MigrationPlan) Copied() bool {
	return !slices.ContainsFunc(p.Drives, func(d MigratingDrive) bool { return d.Copy == "" })
}

// Jobs returns the IDs of the jobs that copy the drives.
func (p *MigrationPlan) Jobs() (ids []string) {
	for i := range p.Drives {
		if id := p.Drives[i].Job; id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// OwesCopies reports whether the migration has to end jobs that copy drives, and to destroy the
// copies: without the others a copy is of no use.
func (p *MigrationPlan) OwesCopies() bool { return !p.Copied() && len(p.Jobs()) > 0 }

// Clone returns a copy that shares no slice of drives with p.
func (p *MigrationPlan) Clone() *MigrationPlan {
	next := *p
	next.Drives = slices.Clone(p.Drives)
	return &next
}
