package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// note is a kind of object that has only attributes.
type note struct {
	entry
	attributes object
}

func (n *note) description() object { return n.attributes }

func openNotes(dir string) (*store[*note], error) {
	return openStore(dir, "note", func(_ string, o object) (*note, error) {
		o.remove("note")
		o.remove(keySerial)
		return &note{attributes: o}, nil
	})
}

func mustOpenNotes(t *testing.T, dir string) *store[*note] {
	t.Helper()
	s, err := openNotes(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// addNotes adds n objects, whose attributes are not sorted.
func addNotes(t *testing.T, s *store[*note], n int) []*note {
	t.Helper()
	for i := range n {
		v := &note{attributes: object{{"text", "number " + strconv.Itoa(i)}, {"empty", ""}, {"a:b", "c d"}}}
		if err := s.add(uuid.NewString(), v); err != nil {
			t.Fatal(err)
		}
	}
	return s.list()
}

// checkNotes compares objects, their attributes and their order.
func checkNotes(t *testing.T, s *store[*note], want []*note) {
	t.Helper()
	got := s.list()
	if len(got) != len(want) {
		t.Fatalf("got %d objects, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].entry != want[i].entry || !slices.Equal(got[i].attributes, want[i].attributes) {
			t.Errorf("object %d: got %v, want %v", i, *got[i], *want[i])
		}
		if found, ok := s.find(want[i].id); !ok || found != got[i] {
			t.Errorf("find %s: got %v, %v; want %v", want[i].id, found, ok, got[i])
		}
	}
}

func TestStoreKeepsObjectsAndOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "notes")
	s := mustOpenNotes(t, dir)
	want := addNotes(t, s, 20)
	for _, i := range []int{17, 3, 0} {
		if err := s.remove(want[i]); err != nil {
			t.Fatal(err)
		}
		if v, ok := s.find(want[i].id); ok {
			t.Errorf("find after remove: got %v, want none", v)
		}
		want = slices.Delete(want, i, i+1)
	}
	want[5].attributes.set("text", "changed")
	if err := s.save(want[5]); err != nil {
		t.Fatal(err)
	}
	checkNotes(t, s, want)
	s = mustOpenNotes(t, dir)
	checkNotes(t, s, want)
	checkNotes(t, s, append(want, addNotes(t, s, 1)[len(want)])) // the newest is the last
}

func TestStoreIsSafeForConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	s := mustOpenNotes(t, dir)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 4 {
				v := &note{attributes: object{{"text", "x"}}}
				if err := s.add(uuid.NewString(), v); err != nil {
					t.Errorf("add: got %v, want no error", err)
				}
				s.list()
			}
		})
	}
	group.Wait()
	if n := len(s.list()); n != 32 {
		t.Errorf("got %d objects, want 32", n)
	}
	checkNotes(t, mustOpenNotes(t, dir), s.list())
}

// TestTruncatedDescriptionIsNamed cuts one description at every byte: the error names the object,
// and the others stay.
func TestTruncatedDescriptionIsNamed(t *testing.T) {
	dir := t.TempDir()
	s := mustOpenNotes(t, dir)
	all := addNotes(t, s, 3)
	path := s.path(all[1].id)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	others := []*note{all[0], all[2]}
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openNotes(dir); err == nil || !strings.Contains(err.Error(), "load note "+all[1].id) {
			t.Fatalf("cut after %d bytes: got %v, want an error that names %s", n, err, all[1].id)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	checkNotes(t, mustOpenNotes(t, dir), all)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	checkNotes(t, mustOpenNotes(t, dir), others)
}

func TestStoreOpensAfterAnInterruptedSave(t *testing.T) {
	dir := t.TempDir()
	s := mustOpenNotes(t, dir)
	all := addNotes(t, s, 3)
	half := s.encode(all[0])[:40]
	foreign := []string{"README", "x.note", strings.ToUpper(anyID) + ".note", anyID + ".other", anyID}
	for _, name := range append([]string{temporary + "1"}, foreign...) {
		if err := os.WriteFile(filepath.Join(dir, name), half, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checkNotes(t, mustOpenNotes(t, dir), all)
	if _, err := os.Stat(filepath.Join(dir, temporary+"1")); !os.IsNotExist(err) {
		t.Errorf("the temporary file: got %v, want that it does not exist", err)
	}
	for _, name := range foreign {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("another program's file: got %v, want it kept", err)
		}
	}
}

func TestFailedAddAndRemoveChangeNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "notes")
	s := mustOpenNotes(t, dir)
	v := addNotes(t, s, 1)[0]
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.add(anyID, new(note)); err == nil {
		t.Error("add without a folder: got no error, want one")
	}
	if err := s.remove(v); err == nil {
		t.Error("remove without a file: got no error, want one")
	}
	checkNotes(t, s, []*note{v})
}
