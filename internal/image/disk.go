package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/transfer"
)

// disk is the image in a virtual disk that is stored on a medium with offsets and, if it names
// other files, in these.
type disk struct {
	diskformat.Disk
	medium  medium
	reading reading
	others  *others
	// storedSum is the SHA-256 of the file on the medium, packed or not, in hexadecimal; empty: not
	// requested, or this file alone does not determine the image.
	storedSum string
}

var (
	_ transfer.RandomAccess   = (*disk)(nil)
	_ transfer.ChangeDetector = (*disk)(nil)
	_ transfer.Warner         = (*disk)(nil)
	_ transfer.Described      = (*disk)(nil)
	_ transfer.StoredDigester = (*disk)(nil)
	_ transfer.Resembler      = (*disk)(nil)
	_ transfer.Unwatched      = (*disk)(nil)
)

// openDisk opens the virtual disk on a medium with offsets, and checks its content. After an error
// the medium is still open.
func openDisk(ctx context.Context, m medium, r reading, opts Options) (*disk, error) {
	d := &disk{medium: m, reading: r, others: newOthers(m, opts)}
	var err error
	if d.Disk, err = openNamed(ctx, r.format, m, d.others.opener(1, ".")); err != nil {
		err = orAsIs(err, packingOf(m))
	} else {
		err = d.check(ctx, opts.Measure)
	}
	if err == nil && opts.StoredDigest && len(d.others.files) == 0 {
		d.storedSum, err = storedSumOf(ctx, m)
	}
	if err != nil {
		return nil, errors.Join(err, d.others.Close())
	}
	return d, nil
}

// packingOf is the format of the file that the bytes of a medium are packed in.
func packingOf(m medium) *format {
	if p, ok := m.(*part); ok {
		return p.outer
	}
	return &raw
}

// orAsIs adds to the hint of a refusal how the bytes in a file of format outer are copied as they
// are.
func orAsIs(err error, outer *format) error {
	var e *transfer.Error
	if !errors.As(err, &e) || e.Code != transfer.CodeInvalid {
		return err
	}
	return &transfer.Error{Op: e.Op, Code: e.Code, Hint: e.Hint + outer.orAsIs(), Offset: e.Offset, Err: e.Err}
}

// openNamed opens the virtual disk on a medium, whose name is in all errors about it.
func openNamed(ctx context.Context, f *format, m medium, files diskformat.Opener) (*namedDisk, error) {
	d, err := f.disk(ctx, bytesOf(m.name(), m.random()), files)
	if err != nil {
		return nil, withOperation("open "+m.name()+" ("+f.name+")", err)
	}
	return &namedDisk{Disk: d, name: m.name()}, nil
}

// check refuses an empty disk and, unless the reading takes the content as it is, one whose content
// is no raw image. With tables it reads all of these, too, to find damage before anything is made.
func (d *disk) check(ctx context.Context, tables bool) error {
	if d.Size() == 0 {
		return errEmpty("open " + d.medium.name())
	}
	if tables {
		for _, err := range d.Extents(ctx) {
			if err != nil {
				return orAsIs(err, packingOf(d.medium))
			}
		}
	}
	if d.reading.asIs {
		return nil
	}
	n := min(d.Size(), sampleSize)
	s := sample{head: make([]byte, n), tail: make([]byte, n)}
	if err := errors.Join(d.ReadAt(ctx, s.head, 0), d.ReadAt(ctx, s.tail, d.Size()-n)); err != nil {
		return orAsIs(err, packingOf(d.medium))
	}
	return d.medium.metadata().acceptInside("open "+d.medium.name(), d.reading.format, s)
}

// reader reads the disk in order, from its beginning.
func (d *disk) reader() readFunc {
	var off int64
	return func(ctx context.Context, p []byte) (int, error) {
		n := min(int64(len(p)), d.Size()-off)
		if n == 0 {
			return 0, io.EOF
		}
		err := d.ReadAt(ctx, p[:n], off)
		off += n
		return int(n), err
	}
}

// media is all that the disk is stored on, the image's own medium first.
func (d *disk) media() []medium {
	list := []medium{d.medium}
	for _, f := range d.others.files {
		list = append(list, f)
	}
	return list
}

// ReadChunk reads from the disk.
func (d *disk) ReadChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.ReadAt(ctx, p, c.Off)
}

// identitySeparator is between the identities of several files.
const identitySeparator = " + "

// Identity is that of all media.
func (d *disk) Identity() string {
	var list []string
	for _, m := range d.media() {
		list = append(list, m.Identity())
	}
	return strings.Join(list, identitySeparator)
}

// Resembles reports whether each medium resembles the one of this identity.
func (d *disk) Resembles(identity string) bool {
	media := d.media()
	list := []string{identity}
	if len(media) > 1 {
		list = strings.Split(identity, identitySeparator)
	}
	if len(list) != len(media) {
		return false
	}
	for i, m := range media {
		r, ok := m.(transfer.Resembler)
		if m.Identity() != list[i] && (!ok || !r.Resembles(list[i])) {
			return false
		}
	}
	return true
}

// Unchanged returns the first change of any medium, and transfer.ErrTouched only if there is none.
func (d *disk) Unchanged(ctx context.Context) (touched error) {
	for _, m := range d.media() {
		switch err := m.Unchanged(ctx); {
		case errors.Is(err, transfer.ErrTouched):
			touched = err
		case err != nil:
			return err
		}
	}
	return touched
}

// StoredSHA256 is the SHA-256 of the file on the medium, in hexadecimal. It is empty without
// Options.StoredDigest, and for an image in several files.
func (d *disk) StoredSHA256() string { return d.storedSum }

// storedSumOf is the SHA-256 of the file on a medium; of a part it is that of its origin.
func storedSumOf(ctx context.Context, m medium) (string, error) {
	if p, ok := m.(*part); ok {
		return p.storedSum, nil
	}
	return sumOf(ctx, m)
}

// sumOf reads all of a medium, in order, for its SHA-256. Reads of the disk come later. They are of
// the same bytes: a file's Unchanged, at the end of the job, covers the time from its opening, and
// each response for a URL has the version of the first one.
func sumOf(ctx context.Context, m medium) (sum string, err error) {
	in, err := m.stream(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	h := sha256.New()
	in.setContext(ctx)
	if _, err := io.CopyBuffer(h, in, make([]byte, readSize)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// CheckImage compares the image with the file's manifest, if it has one.
func (d *disk) CheckImage(m *transfer.Manifest) error {
	return d.reading.checkImage(d.medium.name(), m)
}

// Warnings are those of the media and of the formats.
func (d *disk) Warnings(m *transfer.Manifest) (list []string) {
	for _, medium := range d.media() {
		if w, ok := medium.(transfer.Warner); ok {
			list = append(list, w.Warnings(m)...)
		}
	}
	for _, content := range append([]diskformat.Disk{d.Disk}, d.others.disks...) {
		if named, ok := content.(*namedDisk); ok {
			list = append(list, named.warnings()...)
		}
	}
	return list
}

// UndetectedChanges is that of the files.
func (d *disk) UndetectedChanges() string {
	var list []string
	for _, m := range d.media() {
		if u, ok := m.(transfer.Unwatched); ok {
			if text := u.UndetectedChanges(); text != "" {
				list = append(list, text)
			}
		}
	}
	return strings.Join(list, "; ")
}

// DropCache is that of the files.
func (d *disk) DropCache() (err error) {
	for _, m := range d.media() {
		if u, ok := m.(transfer.Unwatched); ok {
			err = errors.Join(err, u.DropCache())
		}
	}
	return err
}

// Close closes all media.
func (d *disk) Close() error { return errors.Join(d.others.Close(), d.medium.Close()) }

// namedDisk is a virtual disk whose errors and warnings have the name of its file.
type namedDisk struct {
	diskformat.Disk
	name string
}

// ReadAt reads from the disk.
func (d *namedDisk) ReadAt(ctx context.Context, p []byte, off int64) error {
	return withOperation("read "+d.name, d.Disk.ReadAt(ctx, p, off))
}

// Extents are those of the disk.
func (d *namedDisk) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		for e, err := range d.Disk.Extents(ctx) {
			if !yield(e, withOperation("read "+d.name, err)) {
				return
			}
		}
	}
}

func (d *namedDisk) warnings() (list []string) {
	if w, ok := d.Disk.(diskformat.Warner); ok {
		for _, text := range w.Warnings() {
			list = append(list, d.name+": "+text)
		}
	}
	return list
}

// withOperation is err with an operation, if it is an error of a format, which has none.
func withOperation(op string, err error) error {
	var e *transfer.Error
	if !errors.As(err, &e) || e.Op != "" {
		return err
	}
	return &transfer.Error{Op: op, Code: e.Code, Hint: e.Hint, Offset: e.Offset, Err: e.Err}
}

// storedBytes are the bytes of a medium as a file of a virtual disk, and as a raw disk.
type storedBytes struct {
	name   string // of the medium
	medium transfer.RandomAccess
}

var (
	_ diskformat.Disk   = storedBytes{}
	_ diskformat.Sparse = storedBytes{}
)

func bytesOf(name string, m transfer.RandomAccess) storedBytes { return storedBytes{name, m} }

// Size is the size of the medium in bytes.
func (s storedBytes) Size() int64 { return s.medium.Size() }

// ReadAt reads from the medium. Bytes beyond its end are CodeInvalid: the image points to them, and
// is incomplete.
func (s storedBytes) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off < 0 || off > s.Size()-int64(len(p)) {
		return diskformat.Damaged("%s ends at byte %d, and %s at byte %d of it belong to the image",
			s.name, s.Size(), transfer.Count(int64(len(p)), "byte"), off)
	}
	return s.medium.ReadChunk(ctx, transfer.Chunk{Off: off, Len: len(p)}, p)
}

// Data is the first data within the n bytes at off, as far as the medium finds its holes.
func (s storedBytes) Data(ctx context.Context, off, n int64) (transfer.Extent, error) {
	return dataWithin(ctx, s.medium, off, n)
}

// Extents are those of the medium.
func (s storedBytes) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return s.medium.Extents(ctx)
}
