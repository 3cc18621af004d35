package sandbox

import (
	"errors"
	"net/http"
	"slices"
)

// disk is a drive in a device of a server that runs, or ran last.
type disk struct {
	device   string
	drive    *drive
	claim    claim
	readOnly bool // a CD, or a drive of the library

	reads, writes counter // of this run
}

// badDrives is an errors:KEY pair for each device of the input whose drive does not exist, and for
// each drive that is in two devices of keys.
func (s *Server) badDrives(keys, in object) (bad object) {
	at := make(map[string]string) // the first device of a drive
	for _, device := range devices {
		id, ok := keys.get(device)
		if !ok {
			continue
		}
		if first, twice := at[id]; twice {
			bad.add("errors:"+device, "Drive "+id+" is in "+first+" already.")
			continue
		}
		at[id] = device
		if _, changed := in.get(device); !changed {
			continue
		}
		if _, err := s.readableDrive(id); err != nil {
			bad.add("errors:"+device, "Drive "+id+" could not be found.")
		}
	}
	return bad
}

// claimDisks claims the drives of a server: all of them or, after an error, none.
func (s *Server) claimDisks(v *virtualServer) (disks []*disk, err error) {
	for _, device := range devices {
		id, ok := v.keys.get(device)
		if !ok {
			continue
		}
		k := &disk{device: device, claim: s.newClaim(byServer, v.id+":"+device)}
		if k.drive, err = s.readableDrive(id); err == nil {
			err = k.drive.claimForServer(k.claim)
		}
		if err != nil {
			releaseDisks(disks)
			return nil, inDevice(device, id, err)
		}
		media, _ := v.keys.get(device + mediaSuffix)
		k.readOnly = k.drive.standard || k.drive.isCDROM() || media == mediaCDROM
		disks = append(disks, k)
	}
	return disks, nil
}

// inDevice is the error about the drive in a device of a server: one that does not exist is a bad
// request, because the path names the server.
func inDevice(device, drive string, err error) error {
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNotFound {
		return statusErrorf(http.StatusBadRequest, device, "Drive %s could not be found.", drive)
	}
	return err
}

func releaseDisks(disks []*disk) {
	for _, k := range disks {
		k.drive.release(k.claim)
	}
}

// counters adds the counters of v, which are integers, since its last start.
func (v *virtualServer) counters(o *object) {
	for _, key := range []string{"tx", "tx:packets", "rx", "rx:packets"} {
		o.add(key, "0") // a guest uses no network
	}
	for _, device := range devices {
		id, ok := v.keys.get(device)
		if !ok {
			continue
		}
		k := new(disk)
		same := func(k *disk) bool { return k.device == device && k.drive.id == id }
		if i := slices.IndexFunc(v.disks, same); i >= 0 {
			k = v.disks[i]
		}
		k.reads.pairs(o, device+":read")
		k.writes.pairs(o, device+":write")
	}
}
