package sandbox

import (
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxNumber limits cpu, mem and smp: clients read 32 bits.
	maxNumber = math.MaxInt32
	// maxVNCPassword is the length of the longest VNC password, in characters.
	maxVNCPassword = 8

	keyDHCP     = "nic:0:dhcp"
	keyVLAN     = "nic:1:vlan"
	keyVNC      = "vnc:ip"
	keyPassword = "vnc:password"
	addressAuto = "auto"
	mediaSuffix = ":media"
	mediaCDROM  = "cdrom"
)

// devices are the places for drives in a server, in the order of the default boot.
var devices = []string{
	"ide:0:0", "ide:0:1", "ide:1:0", "ide:1:1",
	"block:0", "block:1", "block:2", "block:3", "block:4", "block:5", "block:6", "block:7",
	"scsi:0:0", "scsi:0:1", "scsi:0:2", "scsi:0:3", "scsi:0:4", "scsi:0:5", "scsi:0:6", "scsi:0:7",
}

// keyRule is what holds for a key of a server (manual 8.2).
type keyRule struct {
	// check returns the value as it is stored, or why it is wrong. It does not get an empty value.
	check    func(value string) (stored, why string)
	required bool // it cannot be unset
	live     bool // it may change while the server runs
}

// serverKeyRules are the rules of keys that are not those of a device.
var serverKeyRules = map[string]keyRule{
	"name":        {check: anyText, required: true, live: true},
	"parent":      {check: anyText, live: true},
	"use":         {check: anyText, live: true},
	"persistent":  {check: oneOf("true", "false"), live: true},
	"cpu":         {check: number, required: true},
	"mem":         {check: number, required: true},
	"smp":         {check: numberOrAuto},
	"boot":        {check: deviceList},
	"nic:0:model": {check: oneOf("e1000", "rtl8139", "virtio")},
	keyDHCP:       {check: addressOrAuto},
	"nic:1:model": {check: oneOf("e1000", "rtl8139", "virtio")},
	keyVLAN:       {check: anyUUID},
	"nic:1:mac":   {check: macAddress},
	keyVNC:        {check: addressOrAuto},
	keyPassword:   {check: vncPassword, live: true},
	"vnc:tls":     {check: oneOf("on", "off")},
}

// serverKeyRule is the rule of a key, false if a server does not have the key.
func serverKeyRule(key string) (keyRule, bool) {
	if rule, ok := serverKeyRules[key]; ok {
		return rule, true
	}
	device, isMedia := strings.CutSuffix(key, mediaSuffix)
	switch {
	case slices.Contains(devices, key):
		return keyRule{check: anyUUID}, true
	case isMedia && slices.Contains(devices, device):
		return keyRule{check: oneOf("disk", mediaCDROM)}, true
	case strings.HasPrefix(key, userPrefix) && key != userPrefix && printable(key):
		return keyRule{check: anyText, live: true}, true
	}
	return keyRule{}, false
}

// applyServerKeys returns keys with the changes of an input, and an errors:KEY pair for each bad
// one. It ignores unknown keys; an empty value unsets a key.
func applyServerKeys(keys, in object) (changed, bad object) {
	changed = slices.Clone(keys)
	for _, p := range in {
		rule, ok := serverKeyRule(p.key)
		if !ok {
			continue
		}
		if p.value == "" && !rule.required {
			changed.remove(p.key)
			continue
		}
		stored, why := rule.checked(p.value)
		if why != "" {
			bad.add("errors:"+p.key, why)
			continue
		}
		changed.set(p.key, stored)
	}
	return changed, bad
}

func (rule keyRule) checked(value string) (stored, why string) {
	switch {
	case value == "":
		return "", "is required"
	case !printable(value):
		return "", "must not contain control characters"
	}
	return rule.check(value)
}

// missingServerKeys is an errors:KEY pair for each required key that an input lacks.
func missingServerKeys(in object) (bad object) {
	for _, key := range []string{"name", "cpu", "mem"} {
		if _, ok := in.get(key); !ok {
			bad.add("errors:"+key, "is required")
		}
	}
	return bad
}

// hardwareChanges is an errors:KEY pair for each key that cannot change from old to changed while
// the server runs. To set what a default is changes nothing.
func hardwareChanges(old, changed object) (bad object) {
	old, changed = withDefaults(old), withDefaults(changed)
	for _, p := range slices.Concat(old, changed) {
		rule, _ := serverKeyRule(p.key)
		before, _ := old.get(p.key)
		after, _ := changed.get(p.key)
		if !rule.live && before != after {
			bad.set("errors:"+p.key, "cannot be changed while the server runs: it is currently in use")
		}
	}
	return bad
}

// withDefaults adds the keys that a server has although they were not set.
func withDefaults(keys object) object {
	o := slices.Clone(keys)
	add := func(key, value string) {
		if _, ok := o.get(key); !ok {
			o.add(key, value)
		}
	}
	add("smp", "1")
	add("persistent", "true")
	add("boot", firstDevice(keys))
	if _, ok := o.get(keyDHCP); ok {
		add("nic:0:model", "e1000")
	}
	if _, ok := o.get(keyVLAN); ok {
		add("nic:1:model", "e1000")
	}
	if _, ok := o.get("nic:0:model"); ok {
		add("nic:0:block", "tcp/25") // ports that the cloud blocks
	}
	return o
}

// firstDevice is the first device that has a drive. Clients need a boot device of each server, so
// it is the first of all if none has one.
func firstDevice(keys object) string {
	for _, device := range devices {
		if _, ok := keys.get(device); ok {
			return device
		}
	}
	return devices[0]
}

func anyText(value string) (stored, why string) { return value, "" }

func oneOf(words ...string) func(string) (stored, why string) {
	return func(value string) (string, string) {
		if !slices.Contains(words, value) {
			return "", "must be " + strings.Join(words, " or ")
		}
		return value, ""
	}
}

func number(value string) (stored, why string) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n < 1 || n > maxNumber {
		return "", "must be a number from 1 to " + strconv.Itoa(maxNumber)
	}
	return strconv.FormatUint(n, 10), ""
}

func numberOrAuto(value string) (stored, why string) {
	if value == "auto" {
		return value, ""
	}
	if stored, why = number(value); why != "" {
		why += ", or auto"
	}
	return stored, why
}

func deviceList(value string) (stored, why string) {
	list := strings.Fields(value)
	for _, device := range list {
		if !slices.Contains(devices, device) {
			return "", "must be devices, such as ide:0:0, separated by one space"
		}
	}
	return strings.Join(list, " "), ""
}

func anyUUID(value string) (stored, why string) {
	id, ok := parseUUID(value)
	if !ok {
		return "", "must be a UUID"
	}
	return id, ""
}

func addressOrAuto(value string) (stored, why string) {
	if value == addressAuto {
		return value, ""
	}
	address, ok := parseIPv4(value)
	if !ok {
		return "", "must be auto or an IPv4 address"
	}
	return address, ""
}

func macAddress(value string) (stored, why string) {
	mac, err := net.ParseMAC(value)
	if err != nil || len(mac) != 6 {
		return "", "must be a MAC address of six bytes"
	}
	return mac.String(), ""
}

func vncPassword(value string) (stored, why string) {
	if utf8.RuneCountInString(value) > maxVNCPassword {
		return "", "must have at most " + strconv.Itoa(maxVNCPassword) + " characters"
	}
	return value, ""
}
