package sandbox

import (
	"os"
	"slices"
	"strings"
)

// claimant is what claims a drive.
type claimant string

const (
	byServer claimant = "guest"   // a server that runs
	byClone  claimant = "imaging" // a clone that copies from the drive
)

// claim is an entry of the claimed key of a drive.
type claim struct {
	by   claimant
	text string // HOST:guest:SERVER:DEVICE, or HOST:imaging:UUID of the new drive
}

func (s *Server) newClaim(by claimant, of string) claim {
	return claim{by, s.host + ":" + string(by) + ":" + of}
}

// claimed is the value of the claimed key, empty if nothing claims d. A drive of the library does
// not show the clones, from which nothing protects it. The caller holds mu.
func (d *drive) claimed() string {
	var texts []string
	for _, c := range d.claims {
		if c.by == byServer || !d.standard {
			texts = append(texts, c.text)
		}
	}
	return strings.Join(texts, " ")
}

// claimedBy reports whether such a claimant claims d. The caller holds mu.
func (d *drive) claimedBy(by claimant) bool {
	return slices.ContainsFunc(d.claims, func(c claim) bool { return c.by == by })
}

// unclaimed returns an error if anything claims d. The caller holds mu.
func (d *drive) unclaimed() error {
	switch {
	case d.claimedBy(byServer):
		return busy(kindDrive, d.id, "a server runs with it")
	case d.claimedBy(byClone):
		return busy(kindDrive, d.id, "it is being cloned")
	}
	return nil
}

// shared reports whether several servers may run with d at the same time, and whether it may be
// cloned meanwhile. The caller holds mu.
func (d *drive) shared() bool { return d.attrs.claim == claimShared || d.attrs.kind == typeCDROM }

// claimForServer claims d for a server that starts.
func (d *drive) claimForServer(c claim) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if err := d.unclaimed(); err != nil && !d.shared() {
		return err
	}
	d.claims = append(d.claims, c)
	return nil
}

// release removes a claim.
func (d *drive) release(c claim) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.claims = slices.DeleteFunc(d.claims, func(other claim) bool { return other == c })
}

// writeByServer stores p at off in the open file f of this drive, if the claim of the server still
// holds. The range must be in the drive.
func (d *drive) writeByServer(c claim, f *os.File, p []byte, off int64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !slices.Contains(d.claims, c) {
		return errReleased
	}
	return d.store(f, p, off)
}

// size is the size in bytes.
func (d *drive) size() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.attrs.size
}

// isCDROM reports whether d is a CD.
func (d *drive) isCDROM() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.attrs.kind == typeCDROM
}

// isImaging reports whether d is the target of a clone that has not ended.
func (d *drive) isImaging() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.imaging != nil
}
