package sandbox

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/transferd/transferd/internal/fsx"
)

// keySerial is the last key of a stored object: its number in the order of creation.
const keySerial = "sandbox:serial"

// entry is the part of an object that its store owns. A kind of object embeds it.
type entry struct {
	id     string // UUID, or the address of a static IP
	serial int64  // number in the order of creation
}

func (e *entry) stored() *entry { return e }

// entity is a pointer to an object of one kind, such as *drive.
type entity interface {
	comparable
	stored() *entry
	// description has the object's attributes that must outlast the process, in order.
	description() object
}

// store has the objects of one kind, in memory and in a folder, which outlasts the process. An
// object is the file ID.KIND there, which is replaced atomically and synced. It is safe for
// concurrent use.
type store[T entity] struct {
	dir  string
	kind string

	mu     sync.RWMutex
	byID   map[string]T
	sorted []T   // oldest first
	serial int64 // of the newest object
}

// openStore reads the objects of a kind from dir, which it creates if it is missing.
// fromDescription makes an object of its id and its description, which may have other keys, too.
// openStore removes the temporary files of an interrupted save. If it cannot read a file, the error
// names the object, and the folder is unchanged.
func openStore[T entity](dir, kind string, fromDescription func(id string, o object) (T, error)) (*store[T], error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &store[T]{dir: dir, kind: kind, byID: make(map[string]T)}
	var unfinished []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			unfinished = append(unfinished, filepath.Join(dir, e.Name()))
		}
		id, ok := s.idOf(e.Name())
		if !ok {
			continue
		}
		v, err := s.load(id, fromDescription)
		if err != nil {
			return nil, fmt.Errorf("load %s %s: %w", kind, id, err)
		}
		s.insert(v)
	}
	for _, path := range unfinished {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return s, fsx.RemoveTemporary(dir)
}

// idOf is the id of the object that a file of that name describes.
func (s *store[T]) idOf(name string) (string, bool) {
	stem, isOurs := strings.CutSuffix(name, "."+s.kind)
	for _, parse := range []func(string) (string, bool){parseUUID, parseIPv4} {
		if id, ok := parse(stem); ok {
			return id, isOurs && id == stem // lower case
		}
	}
	return "", false
}

func (s *store[T]) path(id string) string { return filepath.Join(s.dir, id+"."+s.kind) }

func (s *store[T]) load(id string, fromDescription func(string, object) (T, error)) (v T, err error) {
	text, err := os.ReadFile(s.path(id))
	if err != nil {
		return v, err
	}
	if !bytes.HasSuffix(text, []byte("\n")) {
		return v, errors.New("the file is truncated: its last line has no end")
	}
	o := decode(text)
	number, _ := o.get(keySerial)
	serial, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return v, fmt.Errorf("read %s: %w", keySerial, err)
	}
	if v, err = fromDescription(id, o); err != nil {
		return v, err
	}
	*v.stored() = entry{id: id, serial: serial}
	return v, nil
}

// add adds v as the newest object, under an id that is not in use. After an error it is not added.
func (s *store[T]) add(id string, v T) error {
	s.mu.Lock()
	s.serial++
	*v.stored() = entry{id: id, serial: s.serial}
	s.mu.Unlock()
	if err := s.save(v); err != nil {
		return err
	}
	s.insert(v)
	return nil
}

// save writes v to the folder. Nothing else may change v meanwhile.
func (s *store[T]) save(v T) error { return replaceFile(s.path(v.stored().id), s.encode(v)) }

// encode is the content of the object's file: KIND ID, the description, the serial number.
func (s *store[T]) encode(v T) []byte {
	e := v.stored()
	o := append(object{{s.kind, e.id}}, v.description()...)
	o.add(keySerial, strconv.FormatInt(e.serial, 10))
	return encode(o)
}

// remove removes v, which is durable once the folder is synced. After an error v is unchanged.
func (s *store[T]) remove(v T) error {
	if err := os.Remove(s.path(v.stored().id)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, v.stored().id)
	s.sorted = slices.DeleteFunc(s.sorted, func(other T) bool { return other == v })
	return nil
}

// find is the object with that id, false if there is none.
func (s *store[T]) find(id string) (T, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.byID[id]
	return v, ok
}

// list is all objects, oldest first.
func (s *store[T]) list() []T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.sorted)
}

func (s *store[T]) insert(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := v.stored()
	s.byID[e.id] = v
	s.serial = max(s.serial, e.serial)
	i, _ := slices.BinarySearchFunc(s.sorted, e, func(other T, e *entry) int {
		o := other.stored()
		return cmp.Or(cmp.Compare(o.serial, e.serial), cmp.Compare(o.id, e.id))
	})
	s.sorted = slices.Insert(s.sorted, i, v)
}

// named is the object with an id in a store, or the 404 about an object of that kind.
func named[T entity](st *store[T], kind, id string) (v T, err error) {
	v, ok := st.find(id)
	if !ok {
		return v, notFound(http.StatusNotFound, kind, id)
	}
	return v, nil
}
