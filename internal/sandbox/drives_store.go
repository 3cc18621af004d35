package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const (
	metaSuffix = ".drive"
	dataSuffix = ".raw"
	// maxMeta bounds the description of a drive, which set can make longer again and again; bytes.
	maxMeta = 64 << 10
)

// store keeps the account's own drives: in memory to look them up, in dir to survive.
type store struct {
	dir string

	mu     sync.RWMutex
	byID   map[string]*drive
	sorted []*drive // oldest first
	serial int64    // of the newest drive
}

// openStore loads the drives in dir. What an interrupted create left is removed; a drive whose imaging was
// interrupted, or whose file is missing or too short, becomes inactive.
func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &store{dir: dir, byID: make(map[string]*drive)}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		id, isMeta := strings.CutSuffix(e.Name(), metaSuffix)
		if canonical, ok := parseUUID(id); !isMeta || !ok || canonical != id {
			continue
		}
		d, err := s.load(id)
		if err != nil {
			return nil, fmt.Errorf("load drive %s: %w", id, err)
		}
		s.insert(d)
	}
	return s, s.sweep(entries)
}

// load reads one drive back.
func (s *store) load(id string) (*drive, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, id+metaSuffix))
	if err != nil {
		return nil, err
	}
	o := decode(text)
	d := &drive{id: id, path: s.dataPath(id), status: statusActive}
	if d.attrs, err = attributesOf(o); err != nil {
		return nil, err
	}
	serial, _ := o.get(keySerial)
	if d.serial, err = strconv.ParseInt(serial, 10, 64); err != nil {
		return nil, fmt.Errorf("read %s: %w", keySerial, err)
	}
	was, _ := o.get("status")
	info, err := os.Stat(d.path)
	switch {
	case status(was) != statusActive, errors.Is(err, fs.ErrNotExist):
		d.status = statusInactive
	case err != nil:
		return nil, err
	case info.Size() < d.attrs.size:
		d.status = statusInactive
	}
	if d.status != status(was) {
		return d, s.save(d)
	}
	return d, nil
}

// sweep removes temporary files and bytes that no description names.
func (s *store) sweep(entries []fs.DirEntry) error {
	for _, e := range entries {
		id, isData := strings.CutSuffix(e.Name(), dataSuffix)
		canonical, ok := parseUUID(id)
		orphan := isData && ok && canonical == id && s.byID[id] == nil
		if !orphan && !strings.HasPrefix(e.Name(), temporary) {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) dataPath(id string) string { return filepath.Join(s.dir, id+dataSuffix) }

// save writes the drive's description. The caller holds d.mu, or is the only one who may change the drive.
func (s *store) save(d *drive) error {
	return replaceFile(filepath.Join(s.dir, d.id+metaSuffix), encode(d.description()))
}

// create makes a drive that reads as zeros. The description comes last: without it the drive does not exist. With
// state the drive is the target of a clone.
func (s *store) create(id string, a attributes, state *imaging) (*drive, error) {
	d := &drive{id: id, path: s.dataPath(id), attrs: a, status: statusActive, imaging: state}
	if state != nil {
		d.status = statusCopying
	}
	s.mu.Lock()
	s.serial++
	d.serial = s.serial
	s.mu.Unlock()

	if err := makeSparse(d.path, a.size); err != nil {
		if errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.EINVAL) {
			return nil, statusErrorf(http.StatusBadRequest, "size", "is more than this server's file system can hold")
		}
		return nil, internalError(err)
	}
	if err := s.save(d); err != nil {
		_ = os.Remove(d.path)
		return nil, internalError(err)
	}
	s.insert(d)
	return d, nil
}

// destroy removes the drive for good. The description goes first: bytes without one are swept at the next start.
func (s *store) destroy(d *drive) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.changeable(); err != nil && (d.gone || d.status != statusInactive) {
		return err
	}
	if err := os.Remove(filepath.Join(s.dir, d.id+metaSuffix)); err != nil { //nolint:gosec // a UUID of ours
		return internalError(err)
	}
	d.gone = true
	s.forget(d)
	if err := os.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) { //nolint:gosec // a UUID of ours
		return internalError(err)
	}
	if err := syncDir(s.dir); err != nil {
		return internalError(err)
	}
	return nil
}

func (s *store) find(id string) *drive {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byID[id]
}

// list is all drives, oldest first.
func (s *store) list() []*drive {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.sorted)
}

func (s *store) insert(d *drive) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[d.id] = d
	s.serial = max(s.serial, d.serial)
	s.sorted = slices.Insert(s.sorted, s.place(d), d)
}

func (s *store) forget(d *drive) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, d.id)
	if i := s.place(d); i < len(s.sorted) && s.sorted[i] == d {
		s.sorted = slices.Delete(s.sorted, i, i+1)
	}
}

// place is where d is, or belongs, among the sorted drives. The caller holds mu.
func (s *store) place(d *drive) int {
	i, _ := slices.BinarySearchFunc(s.sorted, d, func(a, b *drive) int {
		return cmp.Or(cmp.Compare(a.serial, b.serial), cmp.Compare(a.id, b.id))
	})
	return i
}
