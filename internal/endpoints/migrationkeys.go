package endpoints

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

// serverKeys is the configuration of a new server, derived from that of the old one.
type serverKeys struct {
	spec     *transfer.Spec
	facts    *migrationFacts
	keys     api.Object        // of the new server, without its devices
	why      map[string]string // keys that must differ, and why
	networks []transfer.MigratedNIC
	findings []transfer.Finding
}

const addressAuto = "auto"

var (
	deviceKey  = regexp.MustCompile(`^(ide:\d:\d|scsi:\d:\d|block:\d)(:media)?$`)
	addressKey = regexp.MustCompile(`^(nic:\d:dhcp|vnc:ip)$`)
	vlanKey    = regexp.MustCompile(`^nic:\d:vlan$`)
	// endpointKey matches keys that name other objects of an endpoint, or that it sets itself.
	endpointKey = regexp.MustCompile(`^(parent|avoid|nic:\d:block)$`)
)

// runKey reports whether a key says which server it is, or how its run goes.
func runKey(key string) bool {
	return key == "server" || volatileKey.MatchString(key) && !addressKey.MatchString(key)
}

func newServerKeys(spec *transfer.Spec, f *migrationFacts) *serverKeys {
	k := &serverKeys{spec: spec, facts: f, keys: make(api.Object), why: make(map[string]string)}
	for _, key := range slices.Sorted(maps.Keys(f.server.Keys)) {
		value := f.server.Keys[key]
		switch {
		case value == "" || runKey(key) || deviceKey.MatchString(key):
		case addressKey.MatchString(key):
			k.addAddress(key, value)
		case vlanKey.MatchString(key):
			k.addVLAN(key, value)
		case key == "boot":
			k.addBoot(value)
		case endpointKey.MatchString(key):
			k.why[key] = "the endpoint sets it"
			if !strings.HasPrefix(key, "nic:") {
				k.why[key] = "it names an object of " + spec.Source.Endpoint
				k.warn(key, value+" is an object of "+spec.Source.Endpoint+", so it is left out", "")
			}
		default:
			k.keys[key] = value
		}
	}
	if spec.Name != "" && spec.Name != f.server.Name {
		k.keys["name"], k.why["name"] = spec.Name, "--name"
	}
	k.checkMap()
	return k
}

func (k *serverKeys) warn(item, cause, remedy string) {
	k.findings = append(k.findings, transfer.Finding{
		Severity: transfer.SeverityWarning, Item: item, Cause: cause, Remedy: remedy,
	})
}

func (k *serverKeys) fail(code transfer.Code, item, cause, remedy string) {
	k.findings = append(k.findings, transfer.Finding{
		Severity: transfer.SeverityError, Code: code, Item: item, Cause: cause, Remedy: remedy,
	})
}

// addAddress carries an address over if the target's account has it; otherwise the target chooses
// one.
func (k *serverKeys) addAddress(key, value string) {
	target := addressAuto
	static := slices.Contains(k.facts.sourceIPs, value)
	// A display that is auto shows the address of the network while the server runs.
	follows := key == "vnc:ip" && k.facts.server.Running() && value == k.facts.server.Keys["nic:0:dhcp"]
	switch {
	case slices.Contains(k.facts.targetIPs, value):
		target = value
	case static && !follows:
		k.why[key] = "the address is one of " + k.spec.Source.Endpoint
		k.warn(key, fmt.Sprintf("%s is a static address of %s, so the new server gets another one when it starts",
			value, k.spec.Source.Endpoint),
			fmt.Sprintf("to have a static address there: transferctl api -e %s resources ip create; then set %s",
				k.spec.Target.Endpoint, key))
	default:
		k.why[key] = "the endpoint chooses the address when the server starts"
	}
	k.keys[key] = target
	k.networks = append(k.networks, transfer.MigratedNIC{Key: key, Source: value, Target: target})
}

// addVLAN maps a VLAN.
func (k *serverKeys) addVLAN(key, uuid string) {
	nic := transfer.MigratedNIC{Key: key, Source: uuid}
	defer func() { k.networks = append(k.networks, nic) }()
	wanted, mapped := "", false
	for from, to := range k.spec.VLANs {
		if isVLAN(k.facts.sourceVLAN, uuid, from) {
			wanted, mapped = to, true
		}
	}
	if !mapped {
		k.fail(transfer.CodeInvalid, key, "no VLAN of "+k.spec.Target.Endpoint+" is named for "+k.vlanText(uuid),
			fmt.Sprintf("--map-vlan %s=VLAN; %s", uuid, k.targetVLANs()))
		return
	}
	var found []string
	for _, v := range k.facts.targetVLANs {
		if v.UUID == wanted || v.Name == wanted {
			found = append(found, v.UUID)
		}
	}
	if len(found) != 1 {
		number := "no VLAN"
		if len(found) > 1 {
			number = transfer.Count(len(found), "VLAN")
		}
		cause := fmt.Sprintf("%s has %s %q", k.spec.Target.Endpoint, number, wanted)
		k.fail(transfer.CodeInvalid, key, cause, k.targetVLANs())
		return
	}
	nic.Target = found[0]
	k.keys[key], k.why[key] = found[0], "--map-vlan"
}

// isVLAN reports whether text is the UUID or the name of a VLAN of an account.
func isVLAN(vlans []api.VLAN, uuid, text string) bool {
	return text == uuid || slices.ContainsFunc(vlans, func(v api.VLAN) bool { return v.UUID == uuid && v.Name == text })
}

func (k *serverKeys) vlanText(uuid string) string {
	for _, v := range k.facts.sourceVLAN {
		if v.UUID == uuid && v.Name != "" {
			return fmt.Sprintf("VLAN %s (%s)", uuid, v.Name)
		}
	}
	return "VLAN " + uuid
}

// targetVLANs lists the VLANs of the target.
func (k *serverKeys) targetVLANs() string {
	var names []string
	for _, v := range k.facts.targetVLANs {
		names = append(names, strings.TrimSpace(v.UUID+" "+v.Name))
	}
	if len(names) == 0 {
		return k.spec.Target.Endpoint + " has no VLANs: transferctl api makes one"
	}
	return k.spec.Target.Endpoint + " has " + strings.Join(names, ", ")
}

// checkMap refuses a map of a VLAN that the server does not have: it is perhaps misspelled.
func (k *serverKeys) checkMap() {
	for from := range k.spec.VLANs {
		used := slices.ContainsFunc(k.facts.server.NICs, func(n api.NIC) bool {
			return n.VLAN != "" && isVLAN(k.facts.sourceVLAN, n.VLAN, from)
		})
		if !used {
			k.fail(transfer.CodeInvalid, "--map-vlan "+from, "the server is in no such VLAN", "leave it out")
		}
	}
}

// addBoot carries the boot order over, without devices that are empty on the new server.
func (k *serverKeys) addBoot(value string) {
	devices := slices.DeleteFunc(strings.Fields(value), func(device string) bool {
		return k.facts.leftOut(device) != ""
	})
	if text := strings.Join(devices, " "); text != "" {
		k.keys["boot"] = text
	}
	if k.keys["boot"] != value {
		k.why["boot"] = "a device is left out"
	}
}

// leftOut says why the drive in a device is not moved; empty: it is, or there is none.
func (f *migrationFacts) leftOut(device string) string {
	uuid := f.server.Keys[device]
	info, known := f.drives[uuid]
	switch {
	case uuid == "" || f.owned[uuid]:
		return ""
	case !known:
		return "drive " + uuid + " does not exist"
	case f.media(device) == "cdrom":
		return "CD " + uuid + " (" + cmp.Or(info.Name, "no name") + ") is not the account's"
	}
	return ""
}
