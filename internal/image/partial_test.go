package image

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// partialOf makes the .partial of a job that ended early, with half of content in it.
func partialOf(t *testing.T, path, job string, content []byte, sys *fsx.System) {
	t.Helper()
	dst := create(t, path, CreateOptions{Size: int64(len(content)), Roots: anywhere, Job: job, sys: sys})
	for i := range int64(len(content) / 2 / chunk) {
		writeChunks(t, dst, content, i)
	}
	closed(t, dst)
}

// withoutAttributes is a system without extended attributes.
func withoutAttributes() *fsx.System {
	sys := fsx.Kernel()
	sys.Fsetxattr = func(int, string, []byte, int) error { return unix.EOPNOTSUPP }
	return sys
}

// TestForeignPartialIsNotChanged: a job does not change a .partial that it did not make.
func TestForeignPartialIsNotChanged(t *testing.T) {
	content := transfertest.Image(8*chunk, chunk)
	for name, begin := range map[string]func(t *testing.T, path string){
		"a file":      func(t *testing.T, path string) { writeFile(t, path+partialSuffix, []byte("precious")) },
		"another job": func(t *testing.T, path string) { partialOf(t, path, "other", content, nil) },
		"a file of the image's size": func(t *testing.T, path string) {
			writeFile(t, path+partialSuffix, bytes.Repeat([]byte{1}, len(content)))
		},
		"hard link of a file": func(t *testing.T, path string) {
			writeFile(t, path+"2", []byte("precious"))
			if err := os.Link(path+"2", path+partialSuffix); err != nil {
				t.Fatal(err)
			}
		},
		"hard link of its own": func(t *testing.T, path string) {
			partialOf(t, path, "job", content, nil)
			if err := os.Link(path+partialSuffix, path+"2"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, opts := range []CreateOptions{
			{}, {Resume: true}, {Overwrite: true}, {Resume: true, Overwrite: true}, {Format: transfer.FormatGzip},
			{Format: transfer.FormatGzip, Resume: true},
			{sys: withoutAttributes()}, {sys: withoutAttributes(), Resume: true},
		} {
			t.Run(name, func(t *testing.T) {
				path := filepath.Join(tempDir(t), "disk.img")
				begin(t, path)
				before, err := os.ReadFile(path + partialSuffix)
				if err != nil {
					t.Fatal(err)
				}
				opts.Size, opts.Roots, opts.Job = int64(len(content)), anywhere, "job"
				dst, err := Create(t.Context(), path, opts)
				if err == nil {
					closed(t, dst)
				}
				expect(t, err, transfer.CodeExists, partialSuffix)
				if after, err := os.ReadFile(path + partialSuffix); err != nil || !bytes.Equal(after, before) {
					t.Errorf("with %+v: got other content (%v), want it unchanged", opts, err)
				}
			})
		}
	}
}

// TestPartialIsResumed: on file systems with and without extended attributes, a job continues its
// .partial, and leaves only the target and its manifest.
func TestPartialIsResumed(t *testing.T) {
	content := transfertest.Image(8*chunk, chunk)
	for name, sys := range map[string]*fsx.System{"attributes": fsx.Kernel(), "none": withoutAttributes()} {
		t.Run(name, func(t *testing.T) {
			dir := tempDir(t)
			path := filepath.Join(dir, "disk.img")
			partialOf(t, path, "job", content, sys)
			if inName := exists(t, path+".job"+partialSuffix); inName != (name == "none") {
				t.Errorf("the job in the name of the .partial: got %v, want %v", inName, name == "none")
			}
			opts := CreateOptions{Size: int64(len(content)), Roots: anywhere, Job: "job", Resume: true, sys: sys}
			dst := create(t, path, opts)
			var half bytes.Buffer
			c := transfer.Chunk{Off: 0, Len: len(content) / 2}
			err := dst.(transfer.ReadBacker).ReadBack(t.Context(), c, &half)
			if err != nil || !bytes.Equal(half.Bytes(), content[:c.Len]) {
				t.Errorf("got other data than the earlier attempt stored (%v)", err)
			}
			writeChunks(t, dst, content, 4, 5, 6, 7)
			if err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned); err != nil {
				t.Fatal(err)
			}
			closed(t, dst)
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
				t.Errorf("got another target than the image (%v)", err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 2 {
				t.Errorf("got %v (%v), want the image and its manifest", entries, err)
			}
			target, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			if job, marked := jobOf(target); marked != (name == "attributes") || marked && job != "job" {
				t.Errorf("the attribute: got %q (%v), want job (%v)", job, marked, name == "attributes")
			}
		})
	}
}

// TestStartingOverMakesNewFile: the old file stays unchanged for a process that has it open.
func TestStartingOverMakesNewFile(t *testing.T) {
	content := transfertest.Image(8*chunk, chunk)
	path := filepath.Join(tempDir(t), "disk.img")
	partialOf(t, path, "job", content, nil)
	old, err := os.Open(path + partialSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	dst := written(t, path, bytes.Repeat([]byte{7}, len(content)), CreateOptions{Job: "job"})
	defer closed(t, dst)
	got := make([]byte, len(content)/2)
	if _, err := old.ReadAt(got, 0); err != nil || !bytes.Equal(got, content[:len(got)]) {
		t.Errorf("the old file: got other content (%v), want it unchanged", err)
	}
}

// TestCutOffPublicationIsCompleted: without flags of renameat2, a crash between the two steps of a
// rename leaves the target with two names. A later attempt removes one, and does not write the
// target.
func TestCutOffPublicationIsCompleted(t *testing.T) {
	content := transfertest.Image(8*chunk, chunk)
	path := filepath.Join(tempDir(t), "disk.img")
	dst := written(t, path, content, CreateOptions{Job: "job"})
	closed(t, dst)
	if err := os.Link(path+partialSuffix, path); err != nil {
		t.Fatal(err)
	}
	published, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	dst = written(t, path, content, CreateOptions{Job: "job", Resume: true})
	if err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned); err != nil {
		t.Fatal(err)
	}
	closed(t, dst)
	now, err := os.Stat(path)
	if err != nil || !os.SameFile(now, published) || !now.ModTime().Equal(published.ModTime()) {
		t.Errorf("got a changed or replaced target (%v), want it untouched", err)
	}
	if exists(t, path+partialSuffix) {
		t.Errorf("got a %s, want it removed", partialSuffix)
	}
}

// TestFileThatReplacesThePartialStays: a file that replaces the .partial is neither published nor
// removed.
func TestFileThatReplacesThePartialStays(t *testing.T) {
	content := transfertest.Image(8*chunk, chunk)
	for _, format := range []transfer.Format{transfer.FormatRaw, transfer.FormatZstd} {
		path := filepath.Join(tempDir(t), "disk.img")
		dst := written(t, path, content, CreateOptions{Format: format})
		if err := os.Remove(path + partialSuffix); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path+partialSuffix, []byte("precious"))
		err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned)
		expect(t, err, transfer.CodeExists, "another file")
		if err := dst.(transfer.Discarder).Discard(t.Context()); err != nil {
			t.Errorf("Discard: got %v, want success", err)
		}
		closed(t, dst)
		if b, err := os.ReadFile(path + partialSuffix); err != nil || string(b) != "precious" || exists(t, path) {
			t.Errorf("%s: the other file: got %q (%v), want it unchanged and not published", format, b, err)
		}
	}
}

// TestFileSystemsWithFewAbilitiesReplaceNoFile: an image can be stored on them, and never replaces
// a file.
func TestFileSystemsWithFewAbilitiesReplaceNoFile(t *testing.T) {
	content := transfertest.Image(8*chunk, chunk)
	refuse := func(sys *fsx.System, err error) *fsx.System {
		sys.Renameat2 = func(int, string, int, string, uint) error { return unix.EINVAL }
		sys.Linkat = func(int, string, int, string, int) error { return unix.EPERM }
		sys.Fsync = func(int) error { return err }
		sys.Open = func(string, int, uint32) (int, error) { return -1, unix.EINVAL }
		return sys
	}
	for name, sys := range map[string]*fsx.System{
		"SMB": refuse(withoutAttributes(), unix.EINVAL), "FUSE": refuse(fsx.Kernel(), unix.ENOSYS),
	} {
		for _, format := range []transfer.Format{transfer.FormatRaw, transfer.FormatGzip} {
			path := filepath.Join(tempDir(t), "disk.img")
			opts := CreateOptions{Format: format, Job: "job", FromDisk: true, sys: sys}
			dst := written(t, path, content, opts)
			if err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			closed(t, dst)
			if b, err := os.ReadFile(path); err != nil || !bytes.Equal(unpack(t, b), content) {
				t.Errorf("%s, %s: got another target than the image (%v)", name, format, err)
			}
			writeFile(t, path+"2"+manifestSuffix, []byte("evidence"))
			writeFile(t, path+"3", []byte("precious"))
			_, err := Create(t.Context(), path+"2", CreateOptions{Size: chunk, Roots: anywhere, sys: sys})
			expect(t, err, transfer.CodeExists, manifestSuffix)
			dst = written(t, path+"4", content, opts)
			if err := os.Rename(path+"3", path+"4"); err != nil {
				t.Fatal(err)
			}
			err = dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned)
			expect(t, err, transfer.CodeExists)
			closed(t, dst)
			if b, err := os.ReadFile(path + "4"); err != nil || string(b) != "precious" {
				t.Errorf("%s, %s: the existing file: got %q (%v), want it unchanged", name, format, b, err)
			}
		}
	}
}

// TestUnusableFileSystemIsRefused: a file system without a required feature is refused before the
// transfer.
func TestUnusableFileSystemIsRefused(t *testing.T) {
	for name, change := range map[string]func(*fsx.System){
		"fsync": func(sys *fsx.System) { sys.Fsync = func(int) error { return unix.EIO } },
		"syncfs": func(sys *fsx.System) {
			sys.Fsync = func(int) error { return unix.EINVAL }
			sys.Syncfs = func(int) error { return unix.EIO }
		},
		"rename": func(sys *fsx.System) {
			sys.Renameat2 = func(int, string, int, string, uint) error { return unix.EIO }
		},
		"attributes": func(sys *fsx.System) {
			sys.Fsetxattr = func(int, string, []byte, int) error { return unix.ENOSPC }
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tempDir(t)
			sys := fsx.Kernel()
			change(sys)
			opts := CreateOptions{Size: chunk, Roots: anywhere, sys: sys}
			_, err := Create(t.Context(), filepath.Join(dir, "disk.img"), opts)
			if err == nil {
				t.Fatal("got success, want a refusal")
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) > 0 {
				t.Errorf("got %v (%v), want no file", entries, err)
			}
		})
	}
}

// TestFinishedFileIsNotReplaced runs a job again that has published its target, with any state of
// its record. A target that was changed since then is not replaced, even with --overwrite.
func TestFinishedFileIsNotReplaced(t *testing.T) {
	for _, format := range []transfer.Format{transfer.FormatRaw, transfer.FormatZstd} {
		for _, overwrite := range []bool{false, true} {
			for _, resume := range []bool{false, true} {
				opts := CreateOptions{Job: "job", Format: format, Overwrite: overwrite, Resume: resume}
				finishTwice(t, opts, false)
				finishTwice(t, opts, true)
			}
		}
	}
}

// finishTwice runs a job, changes its target if asked to, and runs the job again with opts.
func finishTwice(t *testing.T, opts CreateOptions, change bool) {
	t.Helper()
	content := transfertest.Image(8*chunk, chunk)
	path := filepath.Join(tempDir(t), "disk.img")
	commit := func(opts CreateOptions) error {
		t.Helper()
		dst := written(t, path, content, opts)
		defer closed(t, dst)
		return dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned)
	}
	first := opts
	first.Resume = false
	if err := commit(first); err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if change {
		stored[len(stored)/2] ^= 1
		writeFile(t, path, stored)
		expect(t, commit(opts), transfer.CodeExists, "changed since")
	} else if err := commit(opts); err != nil {
		t.Errorf("%+v: the same job: got %v, want success", opts, err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, stored) {
		t.Errorf("%+v: got another target (%v), want it unchanged", opts, err)
	}
	another := CreateOptions{Job: "another", Format: opts.Format, Overwrite: true}
	if err := commit(another); err != nil {
		t.Errorf("%+v: another job with --overwrite: got %v, want success", opts, err)
	}
}
