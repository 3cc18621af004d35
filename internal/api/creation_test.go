package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// faulty is an endpoint that keeps what it makes, and loses responses.
type faulty struct {
	mu     sync.Mutex
	kept   map[string][]string // objects in order, by the path of their kind
	losses []string            // of the next responses: "reset" or "504"
	gone   string              // an object that is listed, and that other calls do not find any more
	posts  int
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := strings.TrimSuffix(strings.TrimSuffix(strings.Trim(r.URL.Path, "/"), "/list"), "/info")
	if f.gone != "" && strings.Contains(r.URL.Path, f.gone) {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodGet {
		f.read(w, kind, strings.HasSuffix(r.URL.Path, "/list"))
		return
	}
	f.posts++
	loss := ""
	if len(f.losses) > 0 {
		loss, f.losses = f.losses[0], f.losses[1:]
	}
	object := f.make(r)
	switch loss {
	case "reset":
		panic(http.ErrAbortHandler)
	case "504":
		w.WriteHeader(http.StatusGatewayTimeout)
	default:
		_, _ = w.Write([]byte(object))
	}
}

// add makes objects as another client does.
func (f *faulty) add(kind string, objects ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept[kind] = append(f.kept[kind], objects...)
}

// requests returns how many requests there were to make something.
func (f *faulty) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.posts
}

// make makes what a request asks for, with a new identifier.
func (f *faulty) make(r *http.Request) string {
	body := make([]byte, r.ContentLength)
	_, _ = r.Body.Read(body)
	words := splitPath(r.URL.Path)
	kind, n := strings.Join(words[:len(words)-1], "/"), f.posts
	id := fmt.Sprintf("00000000-0000-0000-0000-%012d", n)
	var object string
	switch {
	case strings.HasPrefix(kind, "servers"):
		kind, object = "servers", fmt.Sprintf("server %s\n%s", id, body)
	case kind == "resources/vlan":
		object = fmt.Sprintf("type vlan\nresource %s\n%s", id, body)
	case kind == "resources/ip":
		object = fmt.Sprintf("type ip\nresource 203.0.113.%d\n", n)
	case kind == "servergroups":
		object = fmt.Sprintf("uuid %s\n%s", id, body)
	case words[len(words)-1] == "set":
		kind, f.kept["subscriptions"] = "subscriptions", nil
		object = fmt.Sprintf("subscription %s\ntype ip\nend_time 2027-0%d-01\n", uuid, n)
	default:
		kind, object = "subscriptions", fmt.Sprintf("type ip\nresource 203.0.113.%d\nquantity 1\n", n)
	}
	f.kept[kind] = append(f.kept[kind], object)
	return object
}

// read responds with a list, or with the description of one or all objects.
func (f *faulty) read(w http.ResponseWriter, path string, list bool) {
	for kind, objects := range f.kept {
		id, found := strings.CutPrefix(path, kind)
		if !found {
			continue
		}
		id = strings.Trim(id, "/")
		for _, object := range objects {
			o := Decode([]byte(object))[0]
			own := o["server"] + o["resource"] + o["uuid"]
			switch {
			case id != "" && id != own: // another
			case list && kind != "subscriptions":
				_, _ = fmt.Fprintln(w, own)
			default:
				_, _ = fmt.Fprintln(w, object)
			}
		}
	}
}

// creations makes the Creation of each kind, without its type.
var creations = map[string]func(c *Client) func(context.Context) error{
	"server": func(c *Client) func(context.Context) error {
		return doer(c.CreateServer(ServerOptions{
			Name: "x", CPU: 1000, Mem: 512, Devices: []Device{{Name: "ide:0:0", Drive: uuid}},
		}))
	},
	"clone":    func(c *Client) func(context.Context) error { return doer(c.CloneServer(uuid, "x")) },
	"VLAN":     func(c *Client) func(context.Context) error { return doer(c.CreateVLAN("x")) },
	"address":  func(c *Client) func(context.Context) error { return doer(c.CreateIP()) },
	"group":    func(c *Client) func(context.Context) error { return doer(c.CreateServerGroup("x")) },
	"purchase": func(c *Client) func(context.Context) error { return doer(c.SubscribeIPs(1, term)) },
	"extension": func(c *Client) func(context.Context) error {
		return doer(c.ExtendSubscription(uuid, 1))
	},
}

func doer[T any](m *Creation[T]) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := m.Do(ctx)
		return err
	}
}

// TestLostResponseMakesNoSecondObject: after a reset or a 504 of a call that was carried out, the
// next Do finds what the call has made, and does not make the call again.
func TestLostResponseMakesNoSecondObject(t *testing.T) {
	for name, newCreation := range creations {
		for _, loss := range []string{"reset", "504"} {
			t.Run(name+" "+loss, func(t *testing.T) {
				f := &faulty{kept: map[string][]string{
					"servers":        {"server " + uuid + "\nname x\n"},
					"resources/vlan": {"type vlan\nresource " + uuid + "\nname x\n"},
					"resources/ip":   {"type ip\nresource 203.0.113.200\n"},
					"servergroups":   {"uuid " + uuid + "\nname x\n"},
					"subscriptions":  {"subscription " + uuid + "\ntype ip\nend_time 2026-12-01\n"},
				}, losses: []string{loss}}
				s := httptest.NewServer(f)
				t.Cleanup(s.Close)
				do := newCreation(client(t, Config{URL: s.URL}))
				err := do(t.Context())
				if transfer.CodeOf(err).Retry() != transfer.RetryCall || !transfer.MayBeCarriedOut(err) {
					t.Fatalf("first: got %v, want an error that allows a retry", err)
				}
				expect(t, err, transfer.CodeOf(err), "all the same", "transferctl")
				if err := do(t.Context()); err != nil || f.requests() != 1 {
					t.Errorf("second: got %v after %d requests, want success after 1", err, f.requests())
				}
			})
		}
	}
}

// TestCreatedObjectIsReturnedAfterALostResponse: not another one that appeared at the same time, or
// has been destroyed since.
func TestCreatedObjectIsReturnedAfterALostResponse(t *testing.T) {
	const gone = "99999999-9999-9999-9999-999999999999"
	f := &faulty{kept: make(map[string][]string), losses: []string{"reset"}, gone: gone}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	m := client(t, Config{URL: s.URL}).CreateServer(ServerOptions{
		Name: "x", CPU: 1000, Mem: 512, Devices: []Device{{Name: "ide:0:0", Drive: uuid}},
	})
	if _, err := m.Do(t.Context()); err == nil {
		t.Fatal("first: got success, want an error")
	}
	f.add("servers", "server "+gone+"\nname x\nide:0:0 "+uuid+"\n",
		"server "+uuidA+"\nname y\nide:0:0 "+uuid+"\n", "server "+uuidB+"\nname x\nide:0:0 "+uuidA+"\n")
	got, err := m.Do(t.Context())
	if err != nil || got.UUID != "00000000-0000-0000-0000-000000000001" || got.Name != "x" || got.CPU != 1000 {
		t.Errorf("second: got %+v, %v; want the server that the first call made", got, err)
	}
}

// fakeCreation makes strings; send returns its result.
func fakeCreation(list func() []string, send func() (string, error)) *Creation[string] {
	return &Creation[string]{
		op: "create thing", hint: "it may exist",
		list:  func(context.Context) ([]string, error) { return list(), nil },
		match: func(_ context.Context, fresh []string) ([]string, error) { return fresh, nil },
		send:  func(context.Context) (string, error) { return send() },
	}
}

// TestCallIsRepeatedOnlyWhenNothingAppears: an endpoint may carry out a call some time after its
// response was lost, so the call is repeated only after half a minute without a new object.
func TestCallIsRepeatedOnlyWhenNothingAppears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timeout := transfer.Errorf(transfer.CodeTimeout, "", "504")
		var sends []time.Time
		began := time.Now()
		m := fakeCreation(func() []string { return []string{"old"} }, func() (string, error) {
			if sends = append(sends, time.Now()); len(sends) < 3 {
				return "", timeout
			}
			return "made", nil
		})
		var got string
		var err error
		for range 100 {
			if got, err = m.Do(t.Context()); err == nil {
				break
			}
			expect(t, err, transfer.CodeTimeout, "it may exist")
			time.Sleep(time.Second)
		}
		if got != "made" || len(sends) != 3 || sends[2].Sub(began) != 2*settleTime {
			t.Errorf("got %q, %v with calls at %v; want calls at 0, 30 and 60 s", got, err, sends)
		}
	})
}

// TestLateObjectIsFound: the endpoint carries out the call some seconds after it has responded with
// 504.
func TestLateObjectIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, sends := time.Now(), 0
		m := fakeCreation(func() []string {
			if time.Since(began) < 20*time.Second {
				return nil
			}
			return []string{"late"}
		}, func() (string, error) {
			sends++
			return "", transfer.Errorf(transfer.CodeTimeout, "", "504")
		})
		got, err := m.Do(t.Context())
		for err != nil && sends == 1 {
			time.Sleep(time.Second)
			got, err = m.Do(t.Context())
		}
		if got != "late" || sends != 1 {
			t.Errorf("got %q, %v after %d calls; want late after 1", got, err, sends)
		}
	})
}

// TestSeveralNewObjectsAreNoGuess: Do does not choose one of them, and makes no other call.
func TestSeveralNewObjectsAreNoGuess(t *testing.T) {
	var exist []string
	m := fakeCreation(func() []string { return exist }, func() (string, error) {
		exist = append(exist, "a", "b")
		return "", transfer.Errorf(transfer.CodeNetwork, "", "reset")
	})
	if _, err := m.Do(t.Context()); transfer.CodeOf(err) != transfer.CodeNetwork {
		t.Fatalf("first: got %v, want %s", err, transfer.CodeNetwork)
	}
	for range 2 {
		_, err := m.Do(t.Context())
		expect(t, err, transfer.CodeFailed, "2 new objects", "it may exist")
	}
	if len(exist) != 2 {
		t.Errorf("got %q, want no further call", exist)
	}
}

// TestRefusedCallIsMadeAgain: after a refusal nothing was made, so there is nothing to find. Equal
// identifiers count as often as they are listed.
func TestRefusedCallIsMadeAgain(t *testing.T) {
	exist, sends := []string{"a", "a"}, 0
	lists := 0
	m := fakeCreation(func() []string { lists++; return exist }, func() (string, error) {
		switch sends++; sends {
		case 1:
			return "", transfer.NotCarriedOut(transfer.Errorf(transfer.CodeConflict, "", "busy"))
		case 2:
			exist = append(exist, "a")
			return "", transfer.Errorf(transfer.CodeNetwork, "", "reset")
		}
		return "", errors.New("a third call")
	})
	_, err := m.Do(t.Context())
	expect(t, err, transfer.CodeConflict)
	if _, err = m.Do(t.Context()); transfer.CodeOf(err) != transfer.CodeNetwork || lists != 1 {
		t.Fatalf("second: got %v after %d lists, want %s after 1", err, lists, transfer.CodeNetwork)
	}
	if got, err := m.Do(t.Context()); got != "a" || err != nil {
		t.Errorf("third: got %q, %v; want a", got, err)
	}
}

// TestFirstListFailsBeforeAnythingIsMade: the error says that nothing was made.
func TestFirstListFailsBeforeAnythingIsMade(t *testing.T) {
	c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			t.Errorf("got %s, want only reads", r.URL)
		}
		w.WriteHeader(http.StatusGatewayTimeout)
	})
	_, err := c.CreateVLAN("x").Do(t.Context())
	if expect(t, err, transfer.CodeTimeout, "create VLAN x"); transfer.MayBeCarriedOut(err) {
		t.Errorf("got %v, want an error that excludes an effect", err)
	}
}

// TestLostExtensionIsFoundInEveryFormOfTheList: with or without UUIDs, by its end or by its months.
func TestLostExtensionIsFoundInEveryFormOfTheList(t *testing.T) {
	named := "subscription " + uuid + "\ntype ip\n"
	for _, list := range []struct{ before, after string }{
		{named + "end_time 2027-01-01", named + "end_time 2027-02-01"},
		{named + "end_date 2027-01-01", named + "end_date 2027-02-01"},
		{named + "months 1", named + "months 2"},
		{"type ip\nend_time 2027-01-01", "type ip\nend_time 2027-02-01"},
	} {
		text, posts := list.before, 0
		c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				posts++
				text = list.after
				w.WriteHeader(http.StatusGatewayTimeout)
				return
			}
			_, _ = w.Write([]byte(text))
		})
		m := c.ExtendSubscription(uuid, 1)
		if _, err := m.Do(t.Context()); transfer.CodeOf(err) != transfer.CodeTimeout {
			t.Fatalf("%q: first: got %v, want %s", list.before, err, transfer.CodeTimeout)
		}
		if _, err := m.Do(t.Context()); err != nil || posts != 1 {
			t.Errorf("%q: second: got %v after %d calls, want success after 1", list.before, err, posts)
		}
	}
}

// TestUnclearPurchaseIsAnError: more new subscriptions than the call makes.
func TestUnclearPurchaseIsAnError(t *testing.T) {
	f := &faulty{kept: make(map[string][]string), losses: []string{"reset"}}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	m := client(t, Config{URL: s.URL}).SubscribeIPs(1, term)
	if _, err := m.Do(t.Context()); err == nil {
		t.Fatal("first: got success, want an error")
	}
	f.add("subscriptions", "type vlan\nquantity 1\n")
	_, err := m.Do(t.Context())
	expect(t, err, transfer.CodeFailed, "2 new subscriptions", "may be paid for all the same")
	if n := f.requests(); n != 1 {
		t.Errorf("got %d requests, want 1", n)
	}
}
