package sandbox

import (
	"net/http"

	"github.com/google/uuid"
)

// listDrives handles /drives/list: the account's own drives, oldest first.
func (s *Server) listDrives(*request) (response, error) { return uuidList(s.drives.list()), nil }

// infoDrives handles /drives/info (manual 7.7).
func (s *Server) infoDrives(*request) (response, error) { return s.describe(s.drives.list()), nil }

func (s *Server) describe(drives []*drive) response {
	all := make([]object, 0, len(drives))
	for _, d := range drives {
		if o := d.object(s.account); o != nil {
			all = append(all, o)
		}
	}
	return textResponse(all...)
}

// ownDrive is the drive that the path names, if it is the account's own.
func (s *Server) ownDrive(req *request) (*drive, error) {
	return named(s.drives.store, kindDrive, req.parameters["uuid"])
}

// anyDrive is the drive that the path names: one of the account, or one of the library.
func (s *Server) anyDrive(req *request) (*drive, error) {
	return s.readableDrive(req.parameters["uuid"])
}

// readableDrive is the drive of a UUID: one of the account, or one of the library.
func (s *Server) readableDrive(id string) (*drive, error) {
	if d, ok := s.drives.find(id); ok {
		return d, nil
	}
	if d := s.standard.known(id); d != nil {
		return d, nil
	}
	return s.standard.find(id)
}

// infoDrive handles /drives/UUID/info (manual 7.6).
func (s *Server) infoDrive(_ *request, d *drive) (response, error) { return s.show(d) }

func (s *Server) show(d *drive) (response, error) {
	o := d.object(s.account)
	if o == nil {
		return response{}, notFound(http.StatusNotFound, kindDrive, d.id)
	}
	return textResponse(o), nil
}

// createDrive handles /drives/create (manual 7.1).
func (s *Server) createDrive(req *request) (response, error) {
	in, err := req.input()
	if err != nil {
		return response{}, err
	}
	a := newAttributes()
	bad := a.apply(in)
	bad = append(bad, a.applyCipher(in)...)
	a.applyDriveType(in)
	bad = append(bad, nameRequired(in)...)
	text, _ := in.get("size")
	if text == "" {
		bad.add("errors:size", "a size is required")
	} else if size, why := driveSize(text); why != "" {
		bad.add("errors:size", why)
	} else {
		a.size = size
	}
	if len(bad) > 0 {
		return response{}, invalidInput(in, bad)
	}
	d, err := s.addDrive(uuid.NewString(), a, nil)
	if err != nil {
		return response{}, err
	}
	return s.show(d)
}

// addDrive makes a drive, as driveStore.create does, if the account may use so much more disk.
func (s *Server) addDrive(id string, a attributes, state *imaging) (d *drive, err error) {
	err = s.allowDisk(func() int64 { return a.size }, func() error {
		d, err = s.drives.create(id, a, state)
		return err
	})
	return d, err
}

// nameRequired reports a missing name; attributes.apply reports a bad one.
func nameRequired(in object) (bad object) {
	if _, ok := in.get("name"); !ok {
		bad.add("errors:name", "a name is required")
	}
	return bad
}

// setDrive handles /drives/UUID/set, which the manual does not have but clients use: it changes the
// keys of the input.
func (s *Server) setDrive(req *request, d *drive) (response, error) {
	in, err := req.input()
	if err != nil {
		return response{}, err
	}
	growth := func() int64 {
		text, _ := in.get("size")
		size, _ := driveSize(text) // 0 if it is bad, which changeDrive reports
		return size - d.size()
	}
	if err := s.allowDisk(growth, func() error { return s.changeDrive(d, in) }); err != nil {
		return response{}, err
	}
	return s.show(d)
}

// changeDrive applies in to d: all of it or nothing.
func (s *Server) changeDrive(d *drive, in object) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	old, a := d.attrs, d.attrs.copy()
	bad := a.apply(in)
	if text, _ := in.get("size"); text != "" {
		size, why := driveSize(text)
		if why != "" {
			bad.add("errors:size", why)
		}
		a.size = size
	}
	d.attrs = a
	if len(bad) == 0 && len(s.drives.encode(d)) > maxMeta {
		bad.add("errors:system", "the drive has too many or too long keys")
	}
	if len(bad) > 0 {
		d.attrs = old
		return invalidInput(in, bad)
	}
	if err := s.resizeAndSave(d, old); err != nil {
		d.attrs = old
		return err
	}
	return nil
}

// resizeAndSave changes the file and the description of d from the old attributes to d.attrs. The
// file is never shorter than the size in the description.
func (s *Server) resizeAndSave(d *drive, old attributes) error {
	size := d.attrs.size
	if size != old.size {
		if err := d.unclaimed(); err != nil {
			return err
		}
	}
	if d.attrs.claim != old.claim && d.claimedBy(byServer) {
		return busy(kindDrive, d.id, "a server runs with it")
	}
	if size > old.size {
		if err := resize(d.path, old.size, size); err != nil {
			return internalError(err)
		}
	}
	if err := s.drives.save(d); err != nil {
		return internalError(err)
	}
	if size < old.size {
		_ = resize(d.path, old.size, size) // only frees space: a later growth cuts at this size first
	}
	return nil
}

// destroyDrive handles /drives/UUID/destroy (manual 7.5).
func (s *Server) destroyDrive(_ *request, d *drive) (response, error) {
	if err := s.drives.destroy(d); err != nil {
		return response{}, err
	}
	return noContent, nil
}
