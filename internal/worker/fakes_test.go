package worker

import (
	"bytes"
	"context"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

const chunkSize = transfer.MinChunkSize

// memImage is an image in memory. It is a source and a sink, and injects faults.
type memImage struct {
	mu       sync.Mutex
	data     []byte
	extents  []transfer.Extent // nil: the whole image
	readOnly bool              // for the servers
	heldBy   []string          // the servers that held it when it was opened
	identity string
	blank    bool
	capacity int64
	reads    map[int64]int // by chunk; for a sink, those of ReadBack
	writes   map[int64]int
	order    []int64 // of the writes, by chunk
	commits  int
	closes   int
	discards int
	// onRead and onWrite are called before a call for a chunk; n counts these calls, from 1. If
	// they return an error, so does the call.
	onRead, onWrite func(ctx context.Context, c transfer.Chunk, n int) error
	// corruptRead and corruptWrite change the bytes that a call returns or stores.
	corruptWrite, corruptRead func(c transfer.Chunk, n int, p []byte)
}

func newMemImage(data []byte) *memImage {
	return &memImage{data: data, identity: "one", reads: make(map[int64]int), writes: make(map[int64]int)}
}

func (m *memImage) Size() int64      { return int64(len(m.data)) }
func (m *memImage) Identity() string { return m.identity }
func (m *memImage) Close() error     { m.closes++; return nil }
func (m *memImage) HeldBy() []string { return m.heldBy }
func (m *memImage) Writable() bool   { return !m.readOnly }

func (m *memImage) Extents(context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		if m.extents == nil {
			yield(transfer.Extent{Len: m.Size()}, nil)
			return
		}
		for _, e := range m.extents {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (m *memImage) count(calls map[int64]int, c transfer.Chunk) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls[c.Index]++
	return calls[c.Index]
}

func (m *memImage) ReadChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := m.count(m.reads, c)
	if m.onRead != nil {
		if err := m.onRead(ctx, c, n); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(p, m.data[c.Off:c.Off+int64(c.Len)])
	if m.corruptRead != nil {
		m.corruptRead(c, n, p)
	}
	return nil
}

func (m *memImage) ReadBack(ctx context.Context, c transfer.Chunk, w io.Writer) error {
	p := make([]byte, c.Len)
	if err := m.ReadChunk(ctx, c, p); err != nil {
		return err
	}
	_, err := w.Write(p)
	return err
}

func (m *memImage) WriteChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := m.count(m.writes, c)
	if m.onWrite != nil {
		if err := m.onWrite(ctx, c, n); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.order = append(m.order, c.Index)
	if grow := int(c.Off) + len(p) - len(m.data); grow > 0 {
		m.data = append(m.data, make([]byte, grow)...)
	}
	stored := m.data[c.Off : c.Off+int64(c.Len)]
	if copy(stored, p); m.corruptWrite != nil {
		m.corruptWrite(c, n, stored)
	}
	return nil
}

func (m *memImage) Blank(context.Context) (bool, error) { return m.blank, nil }

func (m *memImage) Traits() transfer.Traits {
	return transfer.Traits{Rewritable: true, ReadBack: transfer.ReadBackAtOnce, Zeros: transfer.ZerosSkipped,
		Capacity: m.capacity}
}

func (m *memImage) Commit(context.Context, *transfer.Manifest, func(context.Context) error) error {
	m.commits++
	return nil
}

func (m *memImage) Discard(context.Context) error {
	m.discards++
	return nil
}

func (m *memImage) total(calls map[int64]int) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range calls {
		n += k
	}
	return n
}

// writeBackSink is a memImage that writes and reads back in one call.
type writeBackSink struct{ *memImage }

func (a writeBackSink) WriteBack(ctx context.Context, c transfer.Chunk, p []byte, w io.Writer) error {
	if err := a.WriteChunk(ctx, c, p); err != nil {
		return err
	}
	return a.ReadBack(ctx, c, w)
}

// orderedSink is a memImage that must be written in order and cannot be read back.
type orderedSink struct{ m *memImage }

func (f orderedSink) Traits() transfer.Traits {
	return transfer.Traits{ReadBack: transfer.ReadBackNever}
}
func (f orderedSink) WriteChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	return f.m.WriteChunk(ctx, c, p)
}
func (f orderedSink) Commit(ctx context.Context, m *transfer.Manifest, owned func(context.Context) error) error {
	return f.m.Commit(ctx, m, owned)
}
func (f orderedSink) Close() error { return nil }

// stream is a source whose size is known at its end.
type stream struct {
	r     *bytes.Reader
	ended bool
}

func newStream(data []byte) *stream { return &stream{r: bytes.NewReader(data)} }

func (s *stream) Size() int64 {
	if s.ended {
		return s.r.Size()
	}
	return -1
}

func (*stream) Identity() string { return "" }
func (*stream) Close() error     { return nil }

func (s *stream) Next(ctx context.Context, p []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(s.r, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	s.ended = err == io.EOF
	return n, err
}

// fakeOpener is an Opener of two fakes.
type fakeOpener struct {
	source   transfer.Source
	sink     transfer.Sink
	drive    string // UUID of the drive that the job makes; "": the target is an old drive
	open     func(what string, n int) error
	mu       sync.Mutex // of opened
	opened   map[string]int
	ready    int                       // number of Ready calls until the copy is complete
	finds    []bool                    // find of each Provision
	requests []SinkRequest             // of each Sink
	servers  map[transfer.Ref][]string // that hold drives

	snapshots fakeSnapshots
	power     map[string]*fakeServer // the server that holds the source while it runs
	migration fakeMigration

	tags     transfer.TargetTags // of the drive
	untagged bool                // drives have no tags
	sum      transfer.PublishedSum
	cdrom    bool // no server may write to the drives
}

func (e *fakeOpener) opening(what string) error {
	e.mu.Lock()
	if e.opened == nil {
		e.opened = make(map[string]int)
	}
	e.opened[what]++
	n := e.opened[what]
	e.mu.Unlock()
	if e.open == nil {
		return nil
	}
	return e.open(what, n)
}

func (e *fakeOpener) Source(_ context.Context, s *Session) (transfer.Source, error) {
	if err := e.opening("source"); err != nil {
		return nil, err
	}
	if s.Snapshot != "" {
		if !e.snapshots.exist[s.Snapshot] {
			return nil, failure(transfer.CodeNotFound)
		}
		return e.snapshots.image, nil
	}
	return e.source, nil
}

func (e *fakeOpener) Provision(_ context.Context, _ *Session, _ int64, find bool) (NewDrive, error) {
	e.finds = append(e.finds, find)
	if err := e.opening("provision"); err != nil {
		return NewDrive{}, err
	}
	if !find && !e.untagged {
		e.tags = transfer.TargetTags{Job: true, Incomplete: true}
	}
	return NewDrive{e.drive, e.snapshots.users}, nil
}

func (e *fakeOpener) Claim(endpoint, drive string) transfer.Claim {
	return transfer.Claim{Endpoint: endpoint, Drive: drive}
}

func (e *fakeOpener) HeldBy(_ context.Context, _ *Session, drive transfer.Ref) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.power == nil {
		return e.servers[drive], nil
	}
	var running []string
	for uuid, server := range e.power {
		if server.running {
			running = append(running, uuid)
		}
	}
	return running, nil
}

func (e *fakeOpener) Writers(ctx context.Context, s *Session, drive transfer.Ref) ([]string, error) {
	if e.cdrom {
		return nil, nil
	}
	return e.HeldBy(ctx, s, drive)
}

func (e *fakeOpener) TargetTags(context.Context, *Session, string) (transfer.TargetTags, error) {
	return e.tags, e.opening("tags")
}

func (e *fakeOpener) TagIncomplete(context.Context, *Session, string) (transfer.TargetTags, error) {
	err := e.opening("tag incomplete")
	if err == nil && !e.untagged {
		e.tags.Incomplete = true
	}
	return e.tags, err
}

func (e *fakeOpener) PublishedSum(context.Context, *Session) (transfer.PublishedSum, error) {
	return e.sum, e.opening("published sum")
}

func (e *fakeOpener) TagComplete(context.Context, *Session, string) error {
	err := e.opening("tag complete")
	if err == nil {
		e.tags = transfer.TargetTags{Job: e.tags.Incomplete}
	}
	return err
}

func (e *fakeOpener) Ready(context.Context, *Session, string) (bool, error) {
	err := e.opening("ready")
	return e.opened["ready"] > e.ready, err
}

func (e *fakeOpener) Sink(_ context.Context, _ *Session, r SinkRequest) (transfer.Sink, error) {
	e.requests = append(e.requests, r)
	if err := e.opening("sink"); err != nil {
		return nil, err
	}
	return e.sink, nil
}

// memoryStore is a Store in memory. Its job has a lease of 15 s.
type memoryStore struct {
	mu     sync.Mutex
	saved  transfer.Checkpoint
	saves  int
	onSave func(n int) error
	lease  *lease.Lease
	// canceled refuses saves, except those of a job that has ended.
	canceled bool
	parts    fakeParts
}

// provenFor is how long a save proves the lease.
const provenFor = 10 * time.Second

func (s *memoryStore) Lease() *lease.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil {
		began := time.Now()
		s.lease = lease.New(func() time.Duration { return time.Since(began) }, provenFor/2*3)
	}
	return s.lease
}

// last is the last checkpoint that was saved.
func (s *memoryStore) last() transfer.Checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved
}

// change changes the store while an attempt runs.
func (s *memoryStore) change(change func(s *memoryStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *memoryStore) Load(context.Context) (transfer.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.saved
	at.Entries = slices.Clone(at.Entries)
	return at, nil
}

func (s *memoryStore) Save(_ context.Context, c *transfer.Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	if s.onSave != nil {
		if err := s.onSave(s.saves); err != nil {
			return err
		}
	}
	if c.Reset {
		s.saved.Entries = nil
	}
	s.saved.Plan, s.saved.Progress = c.Plan, c.Progress
	s.saved.Entries = append(s.saved.Entries, c.Entries...)
	if s.canceled && !c.Ending {
		return failure(transfer.CodeCanceled)
	}
	s.lease.Renewed(s.lease.Now())
	return nil
}

// job is a job whose attempts a test runs one after another.
type job struct {
	t      *testing.T
	spec   transfer.Spec
	opener *fakeOpener
	store  *memoryStore
	policy flow.Policy
	log    *zap.Logger
}

func newJob(t *testing.T, source transfer.Source, sink transfer.Sink) *job {
	spec := transfer.NewSpec(transfer.Upload, transfer.Ref{Path: "/x.img"}, anyDrive)
	spec.ChunkSize = chunkSize
	return &job{t: t, spec: spec, opener: &fakeOpener{source: source, sink: sink}, store: &memoryStore{},
		policy: flow.DefaultPolicy, log: zap.NewNop()}
}

func (j *job) run(ctx context.Context, drain <-chan struct{}) error {
	return j.runWith(ctx, drain, j.opener, j.store)
}

// runWith runs an attempt with another opener or store.
func (j *job) runWith(ctx context.Context, drain <-chan struct{}, ends Opener, store transfer.Store) error {
	spec := j.spec
	if spec.Target == anyDrive && j.opener.drive == "" {
		spec.Target.Drive = "old"
	}
	return New(Config{Opener: ends, Policy: j.policy, Log: j.log}).Run(ctx, drain, Job{ID: "job", Spec: spec}, store)
}

// anyDrive is the default target: the opener's new drive, or else an old one.
var anyDrive = transfer.Ref{Endpoint: "e"}

func (j *job) mustRun() transfer.Progress {
	j.t.Helper()
	if err := j.run(j.t.Context(), nil); err != nil {
		j.t.Fatal(err)
	}
	return j.store.saved.Progress
}

func (j *job) mustFail(code transfer.Code) *transfer.Failure {
	j.t.Helper()
	err := j.run(j.t.Context(), nil)
	if transfer.CodeOf(err) != code {
		j.t.Fatalf("got %v (%q), want %q", err, transfer.CodeOf(err), code)
	}
	return transfer.FailureOf(err)
}

func checkContent(t *testing.T, sink *memImage, want []byte) {
	t.Helper()
	if !bytes.Equal(sink.data, want) {
		t.Errorf("the target has %d bytes that differ from the source's %d", len(sink.data), len(want))
	}
}

// randomBytes returns size random bytes without zeros, the same each time.
func randomBytes(size int) []byte {
	p, rng := make([]byte, size), rand.New(rand.NewPCG(1, uint64(size)))
	for i := range p {
		p[i] = byte(rng.Uint32() | 1) // no zeros
	}
	return p
}

func failure(code transfer.Code) error { return transfer.Errorf(code, "", "injected") }

// times fails the first n calls for each chunk.
func times(n int, code transfer.Code) func(context.Context, transfer.Chunk, int) error {
	return func(_ context.Context, _ transfer.Chunk, call int) error {
		if call <= n {
			return failure(code)
		}
		return nil
	}
}
