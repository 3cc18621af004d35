package api

import (
	"reflect"
	"slices"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestResourcesAreReadInEveryForm: VLANs and addresses in one response, with either end of line.
func TestResourcesAreReadInEveryForm(t *testing.T) {
	const owner = "4f21c9b7-0b2e-4d6e-8c9b-5b1a8f3f9c01"
	text := example(t, "resources.txt")
	for name, text := range map[string][]byte{"LF": text, "CRLF": withCRLF(text)} {
		objects := Decode(text)
		want := Resources{
			VLANs: []VLAN{{
				UUID: "1b5dcd85-2c4a-4b0e-8c2f-7d9e6a5b4c3d", Name: "office", User: owner, Keys: objects[0],
			}},
			IPs: []IP{{
				Address: "203.0.113.7", Netmask: "255.255.255.0", Gateway: "203.0.113.1", User: owner,
				Nameservers: []string{"203.0.113.2", "203.0.113.3"},
				Claimed:     "62fe7cde-4fb9-4c63-bd8c-e757930066a0", Keys: objects[1],
			}, {
				Address: "203.0.113.9", Netmask: "255.255.255.0", Gateway: "203.0.113.1", User: owner,
				Nameservers: []string{"203.0.113.2"}, Name: "mail", Keys: objects[2],
			}},
		}
		if got, err := serving(t, text).Resources(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", name, got, err, want)
		}
	}
}

// TestListsOfResourcesMayNameTheKind: `ip A` and `A` are the same address.
func TestListsOfResourcesMayNameTheKind(t *testing.T) {
	for _, text := range []string{"ip 203.0.113.7\nip 203.0.113.9\n", "203.0.113.7\r\n\r\n203.0.113.9"} {
		got, err := serving(t, []byte(text)).ListIPs(t.Context())
		if want := []string{"203.0.113.7", "203.0.113.9"}; !slices.Equal(got, want) || err != nil {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
	if got, err := serving(t, nil).ListVLANs(t.Context()); len(got) > 0 || err != nil {
		t.Errorf("no VLANs: got %q, %v; want none", got, err)
	}
}

// TestUnknownAddressIsNotFound: the live service responds with 400 and words of its own.
func TestUnknownAddressIsNotFound(t *testing.T) {
	c := refusing(t, 400, "resource_exception:Missing resource\n")
	expect(t, c.DestroyIP(t.Context(), "203.0.113.7"), transfer.CodeNotFound, "resources ip list")
	expect(t, c.DestroyIP(t.Context(), "../.."), transfer.CodeInvalid, "is not an IP address")
	_, err := serving(t, example(t, "resources.txt")).VLANs(t.Context()) // which also has addresses
	expect(t, err, transfer.CodeProtocol)
}

// TestCreatedAddressIsTheNewOne: the live service responded with all addresses of the account.
func TestCreatedAddressIsTheNewOne(t *testing.T) {
	const response = "resource 203.0.113.6\ntype ip\n\nresource 203.0.113.7\ntype ip\n"
	c := responding(t, "/resources/ip/list", "ip 203.0.113.6\n", "/resources/ip/create", response)
	if ip, err := c.CreateIP().Do(t.Context()); ip.Address != "203.0.113.7" || err != nil {
		t.Errorf("got %+v, %v; want 203.0.113.7", ip, err)
	}
	none := responding(t, "/resources/ip/list", "ip 203.0.113.6\nip 203.0.113.7", "/resources/ip/create", response)
	_, err := none.CreateIP().Do(t.Context())
	expect(t, err, transfer.CodeProtocol, "no address that is new")
}
