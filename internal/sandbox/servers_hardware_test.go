package sandbox

import (
	"slices"
	"testing"
)

// FuzzServerKeys: whatever the input, the keys that are taken outlast a restart, and are valid.
func FuzzServerKeys(f *testing.F) {
	for _, seed := range []string{
		minimal, minimal + "smp auto\nboot ide:0:0 block:7\nide:0:0 " + anyID + "\nide:0:0:media cdrom",
		"name a\tb\nuser:a\tb c\nuser: x\nuser:\xff y\npersistent false\nuse \u00a0\nparent x",
		"nic:0:dhcp 198.051.100.1\nnic:0:dhcp auto\nvnc:ip 1.2.3.4\nvnc:tls on\nvnc:password 12345678",
		"nic:1:vlan " + anyID + "\nnic:1:mac 02-00-00-00-00-01\nnic:1:model virtio\nscsi:0:7 x\ncpu 00\nmem \u0661",
		"started 1\nsandbox:address x\nsandbox:serial 4\nserver x\nstatus active\nname",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxInput {
			return
		}
		keys, _ := applyServerKeys(object{{"smp", "2"}}, decode([]byte(text)))
		for _, p := range keys {
			if p.key == "" || p.value == "" || !printable(p.key) || !printable(p.value) {
				t.Errorf("got %q %q, want a printable key and value", p.key, p.value)
			}
		}
		again, bad := applyServerKeys(keys, keys)
		if len(bad) > 0 || !slices.Equal(again, keys) {
			t.Errorf("applied again: got %q and %q, want %q and no error", again, bad, keys)
		}
		if bad := hardwareChanges(keys, withDefaults(keys)); slices.ContainsFunc(bad, func(p pair) bool {
			return p.key != "errors:nic:0:block"
		}) {
			t.Errorf("got %q, want no change by defaults", bad)
		}
		v := &virtualServer{keys: keys}
		loaded, err := loadServer("", decode(encode(v.description())))
		if err != nil || !slices.Equal(loaded.keys, keys) || loaded.running() {
			t.Errorf("got %q, %v after a restart, want %q", loaded.keys, err, keys)
		}
	})
}
