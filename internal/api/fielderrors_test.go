package api

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestErrorsByKeyBecomeTyped: whatever pairs the endpoint echoes around them (manual 6.2, 11.10).
func TestErrorsByKeyBecomeTyped(t *testing.T) {
	const cpu, start = "The minimum CPU subscription is 2000 core MHz", "This field is required."
	for name, tc := range map[string]struct {
		body string
		want FieldErrors
	}{
		"alone":  {"errors:cpu " + cpu + "\n", FieldErrors{"cpu": cpu}},
		"echoed": {"cpu 1000\nerrors:cpu " + cpu + "\nmonths 1\n", FieldErrors{"cpu": cpu}},
		"several": {
			"cpu 1000\nerrors:cpu " + cpu + "\nstart_time\nerrors:start_time " + start,
			FieldErrors{"cpu": cpu, "start_time": start},
		},
		"in objects": {
			"errors:cpu " + cpu + "\n\nerrors:start_time " + start, FieldErrors{"cpu": cpu, "start_time": start},
		},
		"CRLF":     {"errors:cpu " + cpu + "\r\nstart_time \r\n", FieldErrors{"cpu": cpu}},
		"a colon":  {"errors:ide:0:0 No such drive.\n", FieldErrors{"ide:0:0": "No such drive."}},
		"controls": {"errors:cpu \x1b[31mred\n", FieldErrors{"cpu": "[31mred"}},
		"an echoed phrase": {
			"name currently in use\nerrors:cpu " + cpu + "\ndescription could not be found\n", FieldErrors{"cpu": cpu},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := refusing(t, 400, tc.body).SetServer(t.Context(), uuid, Object{"cpu": "1000"})
			expect(t, err, transfer.CodeRefused,
				"change server "+uuid+" on zrh", "400", tc.want.Error(), "correct "+tc.want.keys()[0])
			var got FieldErrors
			if !errors.As(err, &got) || !maps.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if !errors.Is(err, transfer.ErrNotCarriedOut) {
				t.Errorf("got %v, want ErrNotCarriedOut", err)
			}
			if text := err.Error(); strings.ContainsAny(text, "\n\x1b") || strings.Contains(text, "errors:") {
				t.Errorf("got %q, want one clean sentence", text)
			}
		})
	}
}

// TestMessageOfTheSystemIsNoFieldError: errors:system concerns no key, and other texts neither.
func TestMessageOfTheSystemIsNoFieldError(t *testing.T) {
	for body, want := range map[string]string{
		"name x\nerrors:system Too many drives.\n": "400 Bad Request: Too many drives.",
		"No drives for you.\nNone.":                "400 Bad Request: No drives for you. None.",
		"":                                         "400 Bad Request",
	} {
		_, err := refusing(t, 400, body).CreateDrive(t.Context(), CreateOptions{Name: "x", Size: 512})
		var fields FieldErrors
		if errors.As(err, &fields) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: got %v, %q; want %q and no FieldErrors", body, err, fields, want)
		}
	}
	_, err := refusing(t, 400, "errors:system No.\nerrors:name Too long.\n").Drives(t.Context())
	expect(t, err, transfer.CodeRefused, "No. name: Too long", "correct name")
}

// TestHintsNameTheKindOfObject: what is missing or busy decides which command helps.
func TestHintsNameTheKindOfObject(t *testing.T) {
	ctx := t.Context()
	for body, status := range map[string]int{"errors:system It could not be found.": 400, "gone": 404} {
		c := refusing(t, status, body)
		for hint, call := range map[string]func() error{
			"drives list":          func() error { return c.DestroyDrive(ctx, uuid) },
			"servers list":         func() error { return c.StopServer(ctx, uuid) },
			"vlan list":            func() error { return c.DestroyVLAN(ctx, uuid) },
			"ip list":              func() error { return c.DestroyIP(ctx, "203.0.113.7") },
			"servergroups list":    func() error { return c.DestroyServerGroup(ctx, uuid) },
			"subscriptions list":   func() error { _, err := c.QuoteExtension(ctx, uuid, 1); return err },
			"transferctl drives s": func() error { _, err := c.StandardCD(ctx, uuid); return err },
		} {
			expect(t, call(), transfer.CodeNotFound, hint)
		}
	}
	for body, status := range map[string]int{"errors:system It is currently in use.": 400, "busy": 409} {
		c := refusing(t, status, body)
		expect(t, c.DestroyServer(ctx, uuid), transfer.CodeConflict, "stop the server first")
		expect(t, c.DestroyDrive(ctx, uuid), transfer.CodeConflict, "the drive is busy")
	}
}

// TestMissingReadIsUnsupported: an endpoint may lack a call that names no object. Of a call that
// does, the object is missing.
func TestMissingReadIsUnsupported(t *testing.T) {
	ctx := t.Context()
	for _, status := range []int{404, 405} {
		c := refusing(t, status, "errors:system Unknown command.\n")
		for name, call := range map[string]func() error{
			"usage":         func() error { _, err := c.Usage(ctx); return err },
			"balance":       func() error { _, err := c.Balance(ctx); return err },
			"subscriptions": func() error { _, err := c.Subscriptions(ctx); return err },
			"servers":       func() error { _, err := c.Servers(ctx); return err },
			"addresses":     func() error { _, err := c.ListIPs(ctx); return err },
		} {
			err := call()
			if expect(t, err, transfer.CodeNotFound); !errors.Is(err, ErrUnsupported) {
				t.Errorf("%s, %d: got %v, want ErrUnsupported", name, status, err)
			}
		}
		_, err := c.Server(ctx, uuid)
		_, drivesErr := c.Drives(ctx)
		if errors.Is(err, ErrUnsupported) || errors.Is(drivesErr, ErrUnsupported) {
			t.Errorf("%d: got %v and %v, want other errors", status, err, drivesErr)
		}
	}
	page := refusing(t, 404, "<html>404</html>")
	if _, err := page.Balance(ctx); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a page: got %v, want ErrUnsupported", err)
	}
}
