package sandbox

import (
	"net/http"

	"github.com/google/uuid"
)

// listDrives answers /drives/list: the account's own drives, oldest first.
func (s *Server) listDrives(*exchange) (reply, error) { return idList(s.store.list()), nil }

// infoDrives answers /drives/info (manual 7.7).
func (s *Server) infoDrives(*exchange) (reply, error) { return s.objects(s.store.list()), nil }

// listStandard answers /drives/standard/list and those of one shelf (manual 7.8 to 7.10).
func (s *Server) listStandard(x *exchange) (reply, error) {
	return idList(s.standard.list(x.to.shelves...)), nil
}

// infoStandard answers /drives/standard/info and those of one shelf.
func (s *Server) infoStandard(x *exchange) (reply, error) {
	return s.objects(s.standard.list(x.to.shelves...)), nil
}

func idList(drives []*drive) reply {
	text := make([]byte, 0, 37*len(drives))
	for _, d := range drives {
		text = append(append(text, d.id...), '\n')
	}
	return reply{http.StatusOK, text}
}

func (s *Server) objects(drives []*drive) reply {
	all := make([]object, 0, len(drives))
	for _, d := range drives {
		if o := d.object(s.account); o != nil {
			all = append(all, o)
		}
	}
	return textReply(all...)
}

// infoDrive answers /drives/UUID/info (manual 7.6).
func (s *Server) infoDrive(x *exchange) (reply, error) { return s.show(x.drive) }

func (s *Server) show(d *drive) (reply, error) {
	o := d.object(s.account)
	if o == nil {
		return reply{}, missing(http.StatusNotFound, d.id)
	}
	return textReply(o), nil
}

// createDrive answers /drives/create (manual 7.1).
func (s *Server) createDrive(x *exchange) (reply, error) {
	in, err := x.input()
	if err != nil {
		return reply{}, err
	}
	a := newAttrs()
	bad := a.take(in)
	bad = append(bad, a.takeCipher(in)...)
	a.takeDriveType(in)
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
		return reply{}, invalid(in, bad)
	}
	d, err := s.store.create(uuid.NewString(), a, nil)
	if err != nil {
		return reply{}, err
	}
	return s.show(d)
}

// nameRequired complains when the name is missing; a bad one is complained about by attrs.take.
func nameRequired(in object) (bad object) {
	if _, ok := in.get("name"); !ok {
		bad.add("errors:name", "a name is required")
	}
	return bad
}

// setDrive answers /drives/UUID/set, which the manual does not have but clients use: the keys that were sent change.
func (s *Server) setDrive(x *exchange) (reply, error) {
	in, err := x.input()
	if err != nil {
		return reply{}, err
	}
	if err := s.change(x.drive, in); err != nil {
		return reply{}, err
	}
	return s.show(x.drive)
}

// change applies in to d: all of it or nothing.
func (s *Server) change(d *drive, in object) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	old, a := d.attrs, d.attrs.copied()
	bad := a.take(in)
	if text, _ := in.get("size"); text != "" {
		size, why := driveSize(text)
		if why != "" {
			bad.add("errors:size", why)
		}
		a.size = size
	}
	d.attrs = a
	if len(bad) == 0 && len(encode(d.description())) > maxMeta {
		bad.add("errors:system", "the drive has too many or too long keys")
	}
	if len(bad) > 0 {
		d.attrs = old
		return invalid(in, bad)
	}
	if err := s.apply(d, old); err != nil {
		d.attrs = old
		return err
	}
	return nil
}

// apply brings file and description of d, whose attributes were old, to what d.attrs says. The file is never shorter
// than the description says.
func (s *Server) apply(d *drive, old attrs) error {
	size := d.attrs.size
	if size != old.size && len(d.claims) > 0 {
		return busy(d.id, "it is being cloned")
	}
	if size > old.size {
		if err := resize(d.path, old.size, size); err != nil {
			return internal(err)
		}
	}
	if err := s.store.save(d); err != nil {
		return internal(err)
	}
	if size < old.size {
		_ = resize(d.path, old.size, size) // only gives space back: what is past the size is cut before a growth
	}
	return nil
}

// destroyDrive answers /drives/UUID/destroy (manual 7.5).
func (s *Server) destroyDrive(x *exchange) (reply, error) {
	if err := s.store.destroy(x.drive); err != nil {
		return reply{}, err
	}
	return noContent, nil
}
