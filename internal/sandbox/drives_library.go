package sandbox

import (
	"cmp"
	"crypto/sha256"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// medium is one of the two kinds of standard drives, and the name of their folder.
type medium string

const (
	mediumImage medium = "img"
	mediumCD    medium = "cd"
)

const infoSuffix = ".info"

// libraryUser owns the standard drives.
const libraryUser = "00000000-0000-0000-0000-000000000001"

// library has the standard drives: the files in dir/img and dir/cd, which each listing reads again.
type library struct {
	dir string

	mu   sync.Mutex
	byID map[string]*drive
}

// listStandard handles /drives/standard/list and those of one medium (manual 7.8 to 7.10).
func (s *Server) listStandard(req *request) (response, error) {
	return uuidList(s.standard.list(req.media()...)), nil
}

// infoStandard handles /drives/standard/info and those of one medium.
func (s *Server) infoStandard(req *request) (response, error) {
	return s.describe(s.standard.list(req.media()...)), nil
}

// standardDrive is the library's drive of the medium and UUID that the path names.
func (s *Server) standardDrive(req *request) (*drive, error) {
	return s.standard.find(req.parameters["uuid"], req.media()...)
}

// media is the medium that the path names, none if it names none.
func (req *request) media() []medium {
	if m, ok := req.parameters["medium"]; ok {
		return []medium{medium(m)}
	}
	return nil
}

// openLibrary opens the library in dir. The first time it makes the generated images.
func openLibrary(dir string) (*library, error) {
	for _, m := range []medium{mediumImage, mediumCD} {
		if err := os.MkdirAll(filepath.Join(dir, string(m)), 0o700); err != nil {
			return nil, err
		}
	}
	l := &library{dir: dir, byID: make(map[string]*drive)}
	return l, l.makeImages()
}

// find is the standard drive with a UUID, of the given media or, without media, of both.
func (l *library) find(id string, media ...medium) (*drive, error) {
	for _, d := range l.list(media...) {
		if d.id == id {
			return d, nil
		}
	}
	return nil, notFound(http.StatusNotFound, kindDrive, id)
}

// known is a drive that find has found before, if its file is unchanged; it reads no folder.
func (l *library) known(id string) *drive {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.byID[id]
	if d == nil {
		return nil
	}
	if info, err := os.Stat(d.path); err != nil || info.Size() != d.attrs.size {
		return nil
	}
	return d
}

// list are the drives of the given media or, without media, of both, each sorted by file name.
func (l *library) list(media ...medium) []*drive {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(media) == 0 {
		media = []medium{mediumImage, mediumCD}
	}
	var all []*drive
	for _, m := range media {
		all = append(all, l.scan(m)...)
	}
	return all
}

// scan reads the folder of one medium. It skips folders and hidden, empty and unreadable files.
func (l *library) scan(m medium) (found []*drive) {
	dir := filepath.Join(l.dir, string(m))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, infoSuffix) || !printable(name) {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || !info.Mode().IsRegular() || info.Size() == 0 || info.Size() >= tooLarge {
			continue
		}
		found = append(found, l.driveOf(m, name, info.Size()))
	}
	slices.SortStableFunc(found, func(a, b *drive) int { return cmp.Compare(a.path, b.path) })
	return found
}

// driveOf is the drive of a file, with its present attributes. The UUID depends on the medium and
// the file's name alone.
func (l *library) driveOf(m medium, file string, size int64) *drive {
	id := libraryID("standard/" + string(m) + "/" + file)
	path := filepath.Join(l.dir, string(m), file)
	a := libraryAttributes(m, file, path+infoSuffix)
	a.size = size
	d, ok := l.byID[id]
	if !ok {
		d = &drive{entry: entry{id: id}, path: path, standard: true, status: statusActive, attrs: a}
		l.byID[id] = d
		return d
	}
	d.mu.Lock()
	d.attrs = a
	d.mu.Unlock()
	return d
}

// libraryID is the UUID of a library file, a hash of its name: version 8 (RFC 9562), from SHA-256.
func libraryID(name string) string {
	sum := sha256.Sum256([]byte(name))
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 0x80 // version
	id[8] = id[8]&0x3f | 0x80 // variant
	return id.String()
}

// libraryAttributes are the attributes of a library file: defaults, and the keys of its .info file,
// which take precedence.
func libraryAttributes(m medium, file, infoPath string) attributes {
	a := newAttributes()
	a.claim = claimShared
	a.kind = typeDisk
	a.name = file
	for _, ext := range []string{".img", ".raw", ".iso"} {
		a.name = strings.TrimSuffix(a.name, ext)
	}
	text := object{{"os", "other"}, {"bits", "64"}, {"free", "true"}, {"drive_type", "preinstalled"}}
	if m == mediumCD {
		a.kind = typeCDROM
		text.set("drive_type", "installcd")
	}
	note, err := os.ReadFile(infoPath)
	if err == nil && len(note) <= maxMeta {
		o := decode(note)
		if name, _ := o.get("name"); name != "" && printable(name) {
			a.name = name
		}
		a.use, _ = o.get("use")
		for _, p := range libraryText(o) {
			text.set(p.key, p.value)
		}
	}
	a.text = libraryText(text)
	return a
}
