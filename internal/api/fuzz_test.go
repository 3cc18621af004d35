package api

import (
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/shopspring/decimal"

	"github.com/transferd/transferd/internal/transfer"
)

// addExamples adds all example responses to a corpus, with both ends of line.
func addExamples(f *testing.F) {
	for _, name := range []string{
		"servers.txt", "resources.txt", "profile.txt", "usage.txt", "pricing.txt", "transactions.txt",
		"subscriptions.txt",
	} {
		text := example(f, name)
		f.Add(text)
		f.Add(withCRLF(text))
	}
}

// parsed checks that a parser's errors are CodeProtocol and safe for a terminal.
func parsed[T any](t *testing.T, o Object, parse func(Object) (T, error)) (value T, ok bool) {
	t.Helper()
	value, err := parse(o)
	if err == nil {
		return value, true
	}
	expect(t, err, transfer.CodeProtocol)
	if strings.ContainsFunc(err.Error(), unicode.IsControl) {
		t.Errorf("got %q, want no control characters", err)
	}
	return value, false
}

// FuzzServer: a server that can be read can be made again from what was read.
func FuzzServer(f *testing.F) {
	addExamples(f)
	f.Add([]byte("server " + uuid + "\nname x\ncpu 1\nmem 1\nsmp 0\nide:0:0 " + uuid +
		"\nide:0:0:media cdrom\nvnc:tls on"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, o := range Decode(text) {
			s, ok := parsed(t, o, newServer)
			if !ok {
				continue
			}
			options := ServerOptions{
				Name: s.Name, CPU: s.CPU, SMP: max(s.SMP, 0), Mem: s.Mem, Boot: s.Boot,
				Devices: s.Devices, NICs: s.NICs, VNC: s.VNC, Persistent: s.Persistent,
			}
			keys, err := options.object()
			if err != nil {
				continue
			}
			input, err := Encode(keys)
			if err != nil {
				continue
			}
			again := Decode(append(input, "server "+s.UUID+"\n"...))
			copied, err := newServer(again[0])
			if err != nil || copied.Name != s.Name || copied.CPU != s.CPU || copied.Mem != s.Mem ||
				copied.SMP != options.SMP || copied.VNC != s.VNC || copied.Persistent != s.Persistent ||
				!reflect.DeepEqual(copied.NICs, s.NICs) || len(copied.Devices) != len(s.Devices) {
				t.Errorf("got %+v, %v; want %+v", copied, err, s)
			}
		}
	})
}

// FuzzAccount: no text makes the other parsers panic, or return an identifier that no call accepts.
func FuzzAccount(f *testing.F) {
	addExamples(f)
	f.Add([]byte("msft_\x1b[31mred 1x\n")) // a key may come from the endpoint
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, o := range Decode(text) {
			if v, ok := parsed(t, o, newVLAN); ok && vlanKind.check(v.UUID) != nil {
				t.Errorf("got VLAN %q, want a UUID", v.UUID)
			}
			if a, ok := parsed(t, o, newIP); ok && ipKind.check(a.Address) != nil {
				t.Errorf("got %q, want an address", a.Address)
			}
			if g, ok := parsed(t, o, newServerGroup); ok && groupKind.check(g.UUID) != nil {
				t.Errorf("got server group %q, want a UUID", g.UUID)
			}
			if p, ok := parsed(t, o, newProfile); ok && p.ID() == "" {
				t.Errorf("got a profile of %q, want an identifier", o)
			}
			parsed(t, o, newUsage)
			parsed(t, o, newPricing)
			parsed(t, o, newTransaction)
			parsed(t, o, newSubscription)
			parsed(t, o, newBalance)
		}
	})
}

// FuzzAmount: an amount is read exactly, and its text can be read again.
func FuzzAmount(f *testing.F) {
	for _, seed := range []string{
		"0", "-0.00", "12.50", "0E-20", "1e99", "155367.99237092264288897986", "1e-999999999", ".5", "5.", "+3",
		"1,5", "NaN",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, ok := parsed(t, Object{"balance": text}, newBalance)
		if !ok {
			return
		}
		again, err := decimal.NewFromString(m.String())
		if err != nil || !again.Equal(m.Amount) || !m.Amount.Equal(decimal.RequireFromString(text)) {
			t.Errorf("%q: got %s, %v; want the same amount", text, m, err)
		}
	})
}

// FuzzErrors: whatever an endpoint refuses a call with, the message is one bounded line without
// control characters.
func FuzzErrors(f *testing.F) {
	for _, seed := range []string{
		"errors:system Drive x could not be found.\n", "cpu 1000\r\nerrors:cpu Too few.\r\n\r\nerrors:mem \x1b[31m\n",
		"resource_exception:Missing resource", "errors:\n", "errors: x", "errors:system\nerrors:system y",
		"\xff\xfe", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		message, fields := readErrors(body)
		texts := append(fields.keys(), message)
		for _, text := range fields {
			texts = append(texts, text)
		}
		for _, text := range texts {
			if len(text) > maxMessage+len("…") || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("got %q, want one short line", text)
			}
		}
		if _, ok := fields[systemKey]; ok {
			t.Errorf("got %q, want no field %s", fields, systemKey)
		}
	})
}

// FuzzLists: each value of a list is one word of the text.
func FuzzLists(f *testing.F) {
	f.Add([]byte("ip 203.0.113.7\r\nvlan " + uuid + "\n\n" + uuid + " 1000 512\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, value := range append(firstWords(text), lastWords(text)...) {
			if len(strings.Fields(value)) != 1 || !strings.Contains(string(text), value) {
				t.Errorf("got %q, want a word of %q", value, text)
			}
		}
	})
}
