package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseFault(t *testing.T) {
	for spec, want := range map[string]Fault{
		"409=5%": {Kind: "409", Percent: 5}, "corrupt-write=0.1%": {Kind: "corrupt-write", Percent: 0.1}, "reset=0%": {Kind: "reset"},
		"504=100%": {Kind: "504", Percent: 100}, "latency=20ms": {Kind: "latency", Delay: 20 * time.Millisecond},
		"bandwidth=100M": {Kind: "bandwidth", Rate: 100 << 20}, "imaging=2s": {Kind: "imaging", Delay: 2 * time.Second},
	} {
		got, err := ParseFault(spec)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", spec, got, err)
		}
	}
	for _, spec := range []string{
		"", "=", "409", "409=", "409=5", "409=-1%", "409=101%", "409=NaN%", "409=x%", "409=%", "latency=5", "latency=-1s", "latency=5%",
		"bandwidth=0", "bandwidth=-1", "bandwidth=1.5M", "bandwidth=5%", "imaging=x",
	} {
		if f, err := ParseFault(spec); err == nil {
			t.Errorf("%q is %+v", spec, f)
		}
	}
	_, err := ParseFault("fire=5%")
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range append(faultNames[:], "fire") {
		contains(t, []byte(err.Error()), name)
	}
}

func TestFaultsKeepTheirPercentages(t *testing.T) {
	c := newFaultChooser(1)
	percent := [faultKinds]float64{faultConflict: 5, faultTimeout: 2, faultFailure: 1, faultReset: 1, faultTruncate: 50}
	kinds := []faultKind{faultReset, faultFailure, faultTimeout, faultConflict} // no truncate
	counts := map[faultKind]int{}
	const requests = 100_000
	for range requests {
		fault := c.choose(&percent, kinds)
		counts[fault.kind]++
		if fault.at < 0 || fault.at >= 1 {
			t.Fatalf("%+v", fault)
		}
	}
	for kind, want := range map[faultKind]float64{
		faultConflict: 5, faultTimeout: 2, faultFailure: 1, faultReset: 1, faultTruncate: 0, noFault: 91,
	} {
		if got := float64(counts[kind]) * 100 / requests; got < want*0.9 || got > want*1.1 {
			t.Errorf("kind %d: %v%%, want %v%%", kind, got, want)
		}
	}
}

// counted checks how often kind was injected, and that nothing else was.
func (r *rig) counted(kind string, least, most int64) {
	r.Helper()
	counts := r.s.FaultCounts()
	if len(counts) != int(faultKinds) {
		r.Errorf("%d kinds are counted", len(counts))
	}
	for name, n := range counts {
		if name == kind && (n < least || n > most) || name != kind && n != 0 {
			r.Errorf("%s was injected %d times", name, n)
		}
	}
}

func TestFaultConflict(t *testing.T) {
	r := newRig(t)
	r.faults("409=100%")
	id := r.create(4096)
	r.info(id)
	r.get("/drives/list")
	commands := []string{"write", "read/0/1", "set", "clone", "destroy"}
	for _, path := range commands {
		a := r.want(409, "POST", "/drives/"+id+"/"+path, []byte("name x"))
		contains(t, a.body, "currently in use")
	}
	r.counted("409", int64(len(commands)), int64(len(commands)))
	r.faults()
	if o := r.info(id); value(o, "name") != "test" {
		t.Errorf("%v", o)
	}
	equal(t, r.read(id, 0, 4), make([]byte, 4))
}

func TestFaultFailure(t *testing.T) {
	r := newRig(t)
	id := r.create(4096)
	r.faults("500=100%")
	paths := []string{"create", "list", "info", "standard/list", id + "/info", id + "/write", id + "/read/0/1", id + "/destroy"}
	for _, path := range paths {
		r.want(500, "POST", "/drives/"+path, []byte("name x\nsize 1"))
	}
	r.counted("500", int64(len(paths)), int64(len(paths)))
	r.get("/profile/info")
	r.want(404, "GET", "/nothing", nil)
	r.want(405, "GET", "/drives/create", nil)
	r.faults()
	if got := strings.Fields(string(r.get("/drives/list").body)); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestFaultTimeout(t *testing.T) {
	r := newRig(t)
	const writes = 100
	id := r.create(writes)
	r.faults("504=100%")
	for i := range writes {
		r.want(504, "POST", "/drives/"+id+"/write/"+strconv.Itoa(i), []byte{1})
	}
	for range 10 {
		r.want(504, "POST", "/drives/create", []byte("name x\nsize 1"))
		r.want(504, "POST", "/drives/"+id+"/clone", []byte("name x"))
	}
	r.counted("504", writes+20, writes+20)
	r.faults()
	if stored := bytes.Count(r.read(id, 0, writes), []byte{1}); stored < writes/4 || stored > writes*3/4 {
		t.Errorf("%d of %d were stored", stored, writes)
	}
	if got := strings.Fields(string(r.get("/drives/list").body)); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestFaultReset(t *testing.T) {
	r := newRig(t)
	id := r.create(1 << 20)
	data := noise(1<<20, 1)
	r.write(id, 0, data)
	r.faults("reset=100%")
	const tries = 20
	partial := 0
	for range tries {
		c := r.dial()
		if _, err := io.WriteString(c, r.head("GET /drives/"+id+"/read/0/1M")); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after %d bytes: %v", len(got), err)
		}
		if len(got) > 0 {
			partial++
			contains(t, got, "Content-Length: 1048576")
		}
	}
	if partial == 0 || partial == tries {
		t.Errorf("%d of %d were cut in the middle", partial, tries)
	}
	r.counted("reset", tries, tries)
	other := noise(1<<20, 2)
	for range tries {
		if a, err := r.try(r.request("POST", "/drives/"+id+"/write", bytes.NewReader(other))); err == nil {
			t.Errorf("write answered %d", a.status)
		}
	}
	if _, err := r.try(r.request("POST", "/drives/"+id+"/destroy", nil)); err == nil {
		t.Error("destroy was answered")
	}
	r.faults()
	got := r.read(id, 0, 1<<20)
	same := 0
	for same < len(got) && got[same] == other[same] {
		same++
	}
	equal(t, got[same:], data[same:])
	if same == 0 {
		t.Error("no write was cut in the middle")
	}
}

func TestFaultTruncate(t *testing.T) {
	r := newRig(t)
	id := r.create(1 << 20)
	data := noise(1<<20, 1)
	r.faults("truncate=100%")
	for _, encoding := range []string{"identity", "gzip"} {
		body := data
		if encoding == "gzip" {
			body = gzipped(t, data)
		}
		if a, err := r.try(r.request("POST", "/drives/"+id+"/write", bytes.NewReader(body), "Content-Encoding", encoding)); err == nil {
			t.Errorf("write answered %d", a.status)
		}
	}
	if _, err := r.try(r.request("POST", "/drives/"+id+"/write", nil, "Content-Length", "0")); err == nil {
		t.Error("an empty write was answered")
	}
	for _, path := range []string{"/read/0/1M", "/read/1/1"} {
		a, err := r.try(r.request("GET", "/drives/"+id+path, nil))
		if !errors.Is(err, io.ErrUnexpectedEOF) || a.status != 200 {
			t.Errorf("%s: %d, %d bytes, %v", path, a.status, len(a.body), err)
		}
	}
	r.info(id)
	r.counted("truncate", 5, 5)
	r.faults()
	got := r.read(id, 0, 1<<20)
	n := 1<<20 - len(bytes.TrimRight(got, "\x00"))
	equal(t, got[:1<<20-n], data[:1<<20-n])
	if n == 0 || n == 1<<20 {
		t.Errorf("%d bytes are missing", n)
	}
}

// wrongBits is how many bits differ.
func wrongBits(a, b []byte) (n int) {
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

func TestFaultCorruptWrite(t *testing.T) {
	r := newRig(t)
	const size = 5<<20 + 3
	for _, data := range [][]byte{noise(size, 1), make([]byte, size), {0}} {
		for _, encoding := range []string{"identity", "gzip"} {
			id := r.create(int64(len(data)))
			body := data
			if encoding == "gzip" {
				body = gzipped(t, data)
			}
			r.faults("corrupt-write=100%")
			r.want(204, "POST", "/drives/"+id+"/write", body, "Content-Encoding", encoding)
			r.faults()
			if n := wrongBits(r.read(id, 0, int64(len(data))), data); n != 1 {
				t.Errorf("%d bytes, %s: %d bits are wrong", len(data), encoding, n)
			}
		}
	}
	id := r.create(1)
	r.faults("corrupt-write=100%")
	r.write(id, 0, nil)
	r.read(id, 0, 1)
	r.counted("corrupt-write", 6, 6)
}

func TestFaultCorruptRead(t *testing.T) {
	r := newRig(t)
	const size = 1<<20 + 3
	text := bytes.Repeat([]byte("abcdefgh"), size/8+1)[:size]
	id := r.create(size)
	r.write(id, 0, text)
	r.faults("corrupt-read=100%")
	if n := wrongBits(r.read(id, 0, size), text); n != 1 {
		t.Errorf("%d bits are wrong", n)
	}
	a := r.want(200, "GET", "/drives/"+id+"/read/0/"+strconv.Itoa(size), nil, "Accept-Encoding", "gzip")
	if n := wrongBits(gunzipped(t, a.body), text); n != 1 {
		t.Errorf("gzip: %d bits are wrong", n)
	}
	r.counted("corrupt-read", 2, 2)
	r.faults()
	equal(t, r.read(id, 0, size), text)
}

func TestFaultLatency(t *testing.T) {
	r := newRig(t)
	r.faults("latency=60ms")
	began := time.Now()
	r.get("/drives/list")
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("took %v", took)
	}
	r.get("/profile/info")
	r.counted("latency", 1, 1)
}

func TestFaultBandwidth(t *testing.T) {
	r := newRig(t)
	id := r.create(1 << 20)
	r.faults("bandwidth=10M")
	data := noise(1<<20, 1)
	began := time.Now()
	r.write(id, 0, data)
	equal(t, r.read(id, 0, 1<<20), data)
	if took := time.Since(began); took < 180*time.Millisecond { // 2 MiB at 10 MiB/s, less what was saved up
		t.Errorf("took %v", took)
	}
	r.counted("bandwidth", 2, 2)
}

func TestBandwidthIsShared(t *testing.T) {
	for _, rate := range []int64{1000, 1 << 20, 100 << 20} {
		b := newBandwidth(rate)
		req := httptest.NewRequest("GET", "/", nil)
		delayed := 0
		r := &limitedReader{req, bytes.NewReader(make([]byte, rate/20)), b, func() { delayed++ }}
		w := &limitedWriter{req, io.Discard, b, func() { delayed++ }}
		began := time.Now()
		n, err := io.Copy(w, r)
		if n != rate/20 || err != nil {
			t.Fatalf("rate %d: %d bytes, %v", rate, n, err)
		}
		took := time.Since(began)
		if want := 85 * time.Millisecond; took < want { // a tenth of a second, less the hundredth that an idle limit saves up
			t.Errorf("rate %d: took %v, want %v", rate, took, want)
		}
		if delayed == 0 {
			t.Errorf("rate %d: no delay was reported", rate)
		}
	}
}

func TestBandwidthLetsGoOfAClientThatLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	req := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
	w := &limitedWriter{req, io.Discard, newBandwidth(1), cancel}
	if n, err := w.Write(make([]byte, 1000)); n != 1000 || err != nil { // a quarter of an hour
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestFaultsWithoutHijack(t *testing.T) {
	s, err := New(testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetFaults([]Fault{{Kind: "reset", Percent: 100}}); err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("GET", "/drives/list", nil)
	req.SetBasicAuth(testUser, testPassword)
	defer func() {
		if got := recover(); got != http.ErrAbortHandler { //nolint:errorlint // panics with itself
			t.Errorf("%v", got)
		}
	}()
	s.Handler().ServeHTTP(httptest.NewRecorder(), req)
	t.Error("answered")
}

func TestPlainHasNoFaults(t *testing.T) {
	s, err := New(testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetFaults([]Fault{{Kind: "500", Percent: 100}}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.Plain().ServeHTTP(w, httptest.NewRequest("POST", "/drives/create", strings.NewReader("name x\nsize 1")))
	if w.Code != 200 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if err := s.SetFaults([]Fault{{Kind: "409", Percent: 101}}); err == nil {
		t.Error("101% is accepted")
	}
}

// TestSlowBodyHoldsUpNobody: a client that stops sending leaves the drive usable, destroying it
// included.
func TestSlowBodyHoldsUpNobody(t *testing.T) {
	r := newRig(t)
	id := r.create(100)
	c := r.dial()
	if _, err := io.WriteString(c, r.head("POST /drives/"+id+"/write", "Content-Length: 100")+"abc"); err != nil {
		t.Fatal(err)
	}
	r.want(204, "POST", "/drives/"+id+"/destroy", nil)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil) //nolint:bodyclose // the connection is closed
	if err != nil || res.StatusCode != 404 {
		t.Errorf("%v, %v", res, err)
	}
}
