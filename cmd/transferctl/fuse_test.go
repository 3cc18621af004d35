package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// faultyFS is a FUSE file system whose files are in a folder, with the faults of real file systems.
type faultyFS struct {
	poor      bool         // no hard links, no flags of renameat2, no extended attributes, no fsync
	failSyncs atomic.Int64 // number of calls of fsync that fail
	corrupt   atomic.Bool  // large writes are stored with a wrong byte, which the kernel's cache does not have
}

// faultyNode is a file or folder of it.
type faultyNode struct {
	fs.LoopbackNode
	sys *faultyFS
}

var (
	_ fs.NodeWrapChilder = (*faultyNode)(nil)
	_ fs.NodeLinker      = (*faultyNode)(nil)
	_ fs.NodeRenamer     = (*faultyNode)(nil)
	_ fs.NodeSetxattrer  = (*faultyNode)(nil)
	_ fs.NodeFsyncer     = (*faultyNode)(nil)
	_ fs.NodeWriter      = (*faultyNode)(nil)
)

// WrapChild implements fs.NodeWrapChilder.
func (n *faultyNode) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	root := child.(*fs.LoopbackNode).RootData
	return &faultyNode{LoopbackNode: fs.LoopbackNode{RootData: root}, sys: n.sys}
}

// Link implements fs.NodeLinker.
func (n *faultyNode) Link(
	ctx context.Context, to fs.InodeEmbedder, name string, out *fuse.EntryOut,
) (*fs.Inode, syscall.Errno) {
	if n.sys.poor {
		return nil, syscall.EPERM
	}
	return n.LoopbackNode.Link(ctx, to, name, out)
}

// Rename implements fs.NodeRenamer.
func (n *faultyNode) Rename(
	ctx context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32,
) syscall.Errno {
	if n.sys.poor && flags != 0 {
		return syscall.EINVAL
	}
	return n.LoopbackNode.Rename(ctx, name, to, newName, flags)
}

// Setxattr implements fs.NodeSetxattrer.
func (n *faultyNode) Setxattr(ctx context.Context, name string, value []byte, flags uint32) syscall.Errno {
	if n.sys.poor {
		return syscall.ENOTSUP
	}
	return n.LoopbackNode.Setxattr(ctx, name, value, flags)
}

// Fsync implements fs.NodeFsyncer.
func (n *faultyNode) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	switch {
	case n.sys.poor:
		return syscall.EINVAL
	case strings.HasSuffix(n.Path(nil), ".partial") && n.sys.failSyncs.Add(-1) >= 0:
		return syscall.EIO
	case f == nil:
		return fs.OK
	}
	return f.(fs.FileFsyncer).Fsync(ctx, flags)
}

// Write implements fs.NodeWriter.
func (n *faultyNode) Write(ctx context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if n.sys.corrupt.Load() && len(data) >= 64<<10 {
		data = bytes.Clone(data)
		data[len(data)/2] ^= 1 // not in the first or last page, which the kernel may have to read
	}
	return f.(fs.FileWriter).Write(ctx, data, off)
}

// mountFaulty mounts a faultyFS until the test ends, if the kernel allows it to this user.
func mountFaulty(t *testing.T, sys *faultyFS) string {
	t.Helper()
	backing, dir := t.TempDir(), t.TempDir()
	root := &faultyNode{LoopbackNode: fs.LoopbackNode{RootData: &fs.LoopbackRoot{Path: backing}}, sys: sys}
	opts := &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, FsName: "faulty",
		ExplicitDataCacheControl: true, // written data stays in the kernel's cache
		MaxStackDepth:            3,    // more than the kernel allows: reads and writes do not bypass this file system
	}}
	server, err := fs.Mount(dir, root, opts)
	if err != nil {
		t.Skipf("the kernel refuses a FUSE mount: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// localJobs runs transferctl on a host with a sandbox that has one drive.
type localJobs struct {
	t              *testing.T
	dir, drive     string
	image          []byte
	stdout, stderr string
}

func newLocalJobs(t *testing.T) *localJobs {
	dir := t.TempDir()
	l := &localJobs{t: t, dir: dir, image: make([]byte, 16<<20)}
	_, _ = rand.Read(l.image)
	url := sandboxFor(t, dir)
	config := fmt.Sprintf("endpoints: {a: {url: %q, user: u, password_env: SANDBOX_PASSWORD}}\n", url)
	for name, content := range map[string][]byte{"config.yaml": []byte(config), "disk.img": l.image} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.run(0, "upload", filepath.Join(dir, "disk.img"), "a:", "--local")
	l.drive = "a:" + strings.TrimSpace(l.stdout)
	return l
}

// run runs transferctl, which must end with the given status.
func (l *localJobs) run(status int, args ...string) {
	l.t.Helper()
	cmd := exec.Command(filepath.Join(programs, "transferctl"), args...)
	cmd.Env = append(os.Environ(), "TRANSFERD_CONFIG="+filepath.Join(l.dir, "config.yaml"),
		"TRANSFERD_STATE="+filepath.Join(l.dir, "state"), "SANDBOX_PASSWORD=p")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	l.stdout, l.stderr = stdout.String(), stderr.String()
	if got := cmd.ProcessState.ExitCode(); got != status {
		l.t.Fatalf("transferctl %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, status, l.stderr)
	}
}

// wantStderr checks that transferctl wrote a text on stderr.
func (l *localJobs) wantStderr(want string) {
	l.t.Helper()
	if !strings.Contains(l.stderr, want) {
		l.t.Errorf("stderr is %q, want %q in it", l.stderr, want)
	}
}

// wantImage checks that a file has the bytes of the image, and that no partial file is left.
func (l *localJobs) wantImage(path string) {
	l.t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, l.image) {
		l.t.Errorf("%s: got %d bytes that differ from the image (%v), want the image", path, len(got), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*partial*")); len(left) > 0 {
		l.t.Errorf("got the files %v, want no partial file", left)
	}
}

// TestPoorFileSystemReplacesNoFile: a download replaces no file without --overwrite, also on a file
// system without hard links, flags of renameat2, extended attributes and fsync, such as some of SMB
// and FUSE.
func TestPoorFileSystemReplacesNoFile(t *testing.T) {
	l, dir := newLocalJobs(t), mountFaulty(t, &faultyFS{poor: true})
	l.run(0, "download", l.drive, filepath.Join(dir, "raw.img"), "--local", "--verify", "full")
	l.wantStderr("read back from the disk")
	l.wantImage(filepath.Join(dir, "raw.img"))
	l.run(2, "download", l.drive, filepath.Join(dir, "raw.img"), "--local")
	l.run(0, "download", l.drive, filepath.Join(dir, "raw.img"), "--local", "--overwrite")
	l.run(0, "download", l.drive, filepath.Join(dir, "disk.img.gz"), "--local", "--format", "gz", "--verify", "full")
	for _, name := range []string{"other.img", "other.img.partial", "third.img.partial"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"other.img", "third.img"} {
		l.run(2, "download", l.drive, filepath.Join(dir, name), "--local")
	}
	l.run(2, "download", l.drive, filepath.Join(dir, "third.img"), "--local", "--overwrite")
	for _, name := range []string{"other.img", "other.img.partial", "third.img.partial"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != "precious" {
			t.Errorf("%s: got %q (%v), want it unchanged", name, got, err)
		}
	}
}

// TestFailedFsyncEndsTheJob: after one failed fsync the job fails, and the next run starts over.
func TestFailedFsyncEndsTheJob(t *testing.T) {
	for _, args := range [][]string{{}, {"--format", "gz"}, {"--verify", "full"}, {"--verify", "none"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			sys := new(faultyFS)
			l, dir := newLocalJobs(t), mountFaulty(t, sys)
			command := append([]string{"download", l.drive, filepath.Join(dir, "disk.img"), "--local"}, args...)
			sys.failSyncs.Store(1)
			l.run(1, command...)
			l.wantStderr("what was written may be lost")
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("got the files %v (%v), want none", entries, err)
			}
			l.run(0, append(command, "-o", "json")...)
			if !strings.Contains(l.stdout, `"attempts": 1,`) {
				t.Errorf("got %s, want 1 attempt: the second run must not resume the first one", l.stdout)
			}
			if len(args) == 0 || args[0] != "--format" {
				l.wantImage(filepath.Join(dir, "disk.img"))
			}
		})
	}
}

// TestFullVerificationReadsTheDisk: --verify full finds that the disk has other bytes than the
// kernel's cache.
func TestFullVerificationReadsTheDisk(t *testing.T) {
	for _, format := range []string{"raw", "gz"} {
		sys := new(faultyFS)
		l, dir := newLocalJobs(t), mountFaulty(t, sys)
		sys.corrupt.Store(true)
		l.run(0, "download", l.drive, filepath.Join(dir, "cached.img"), "--local", "--format", format)
		l.wantStderr("from the host's cache")
		l.run(5, "download", l.drive, filepath.Join(dir, "full.img"), "--local", "--verify", "full", "--format", format)
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
			t.Errorf("%s: the folder has %v (%v), want the first image and its manifest", format, entries, err)
		}
	}
}
