package sandbox

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/transferd/transferd/internal/fsx"
)

const (
	dataSuffix = ".raw"
	// maxMeta limits the description of a drive, which each set can make longer, in bytes.
	maxMeta = 64 << 10
)

// driveStore has the account's own drives: their descriptions in a store, their bytes in files next
// to these.
type driveStore struct{ *store[*drive] }

// openDrives reads the drives in dir. A drive whose imaging was interrupted, or whose file is
// missing or too short, becomes inactive. Files that no description names are removed.
func openDrives(dir string) (ds driveStore, err error) {
	ds.store, err = openStore(dir, "drive", func(id string, o object) (*drive, error) {
		return loadDrive(filepath.Join(dir, id+dataSuffix), o)
	})
	if err != nil {
		return ds, err
	}
	for _, d := range ds.list() {
		if err := ds.deactivateIncomplete(d); err != nil {
			return ds, err
		}
	}
	return ds, ds.sweep()
}

// loadDrive is the inverse of drive.description, for the drive whose bytes are in the file at path.
func loadDrive(path string, o object) (*drive, error) {
	attrs, err := attributesOf(o)
	state, _ := o.get("status")
	return &drive{path: path, attrs: attrs, status: status(state)}, err
}

// deactivateIncomplete makes d inactive unless it is active and its file is complete.
func (ds driveStore) deactivateIncomplete(d *drive) error {
	if d.status == statusInactive {
		return nil
	}
	if d.status == statusActive {
		switch info, err := os.Stat(d.path); {
		case err == nil && info.Size() >= d.attrs.size:
			return nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	d.status = statusInactive
	return ds.save(d)
}

// sweep removes files that no description names: those of an interrupted create or destroy.
func (ds driveStore) sweep() error {
	entries, err := os.ReadDir(ds.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		stem, isData := strings.CutSuffix(e.Name(), dataSuffix)
		id, ok := parseUUID(stem)
		if _, known := ds.find(id); known || !isData || !ok || id != stem {
			continue
		}
		if err := os.Remove(filepath.Join(ds.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (ds driveStore) dataPath(id string) string { return filepath.Join(ds.dir, id+dataSuffix) }

// create makes a drive that reads as zeros. It writes the description last: without it the drive
// does not exist. With state the drive is the target of a clone.
func (ds driveStore) create(id string, a attributes, state *imaging) (*drive, error) {
	d := &drive{path: ds.dataPath(id), attrs: a, status: statusActive, imaging: state}
	if state != nil {
		d.status = statusCopying
	}
	if err := makeSparse(d.path, a.size); err != nil {
		if errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.EINVAL) {
			return nil, statusErrorf(http.StatusBadRequest, "size", "is more than this server's file system can hold")
		}
		return nil, internalError(err)
	}
	if err := ds.add(id, d); err != nil {
		_ = os.Remove(d.path)
		return nil, internalError(err)
	}
	return d, nil
}

// destroy removes d. It removes the description first: the next start removes files without one.
func (ds driveStore) destroy(d *drive) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.destroyable(); err != nil {
		return err
	}
	if err := ds.remove(d); err != nil {
		return internalError(err)
	}
	d.gone = true
	if err := os.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return internalError(err)
	}
	if err := fsx.SyncDir(ds.dir); err != nil {
		return internalError(err)
	}
	return nil
}

// destroyable returns an error if d cannot be destroyed; one that is inactive can. That a server
// runs with it is a bad request, not a conflict (manual 7.5). The caller holds mu.
func (d *drive) destroyable() error {
	if !d.gone && d.status == statusInactive {
		return nil
	}
	if !d.gone && d.claimedBy(byServer) {
		err := busy(kindDrive, d.id, "a server runs with it")
		err.status = http.StatusBadRequest
		return err
	}
	return d.changeable()
}
