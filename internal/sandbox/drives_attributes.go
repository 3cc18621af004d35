package sandbox

import (
	"maps"
	"slices"
	"strings"
)

const (
	claimExclusive = "exclusive"
	claimShared    = "shared"
	cipherDefault  = "aes-xts-plain"
	cipherNone     = "none"
	tagSSD         = "affinity:ssd"

	typeDisk  = "disk"
	typeCDROM = "cdrom"

	userPrefix = "user:"
)

// libraryKeys are the text keys of a standard drive; true: a clone inherits it.
var libraryKeys = map[string]bool{
	"description": true, "install_notes": true, "url": true, "os": true, "bits": true, "licenses": true,
	"drive_type": false, "free": false, "favourite": false, "autoexpanding": false, "email": false,
}

// attributes are the keys of a drive that create, set and clone take, and library text.
type attributes struct {
	name    string
	size    int64 // bytes
	kind    string
	claim   string
	readers []string
	tags    []string
	use     string
	cipher  string
	text    object // library text
	user    object // user:* keys
}

func newAttributes() attributes {
	return attributes{kind: typeDisk, claim: claimExclusive, cipher: cipherDefault}
}

// copy is a copy that shares no memory with a.
func (a attributes) copy() attributes {
	a.readers, a.tags = slices.Clone(a.readers), slices.Clone(a.tags)
	a.text, a.user = slices.Clone(a.text), slices.Clone(a.user)
	return a
}

// inherited are the attributes that a clone starts with: type, cipher, use and library text are
// inherited; tags and readers are not, and it is exclusive (manual 7.4).
func (a attributes) inherited() attributes {
	c := attributes{kind: a.kind, claim: claimExclusive, use: a.use, cipher: a.cipher, size: a.size}
	for _, p := range a.text {
		if libraryKeys[p.key] {
			c.text = append(c.text, p)
		}
	}
	return c
}

// apply sets the keys of an input except the size, and returns an errors:KEY pair for each bad one.
// It ignores unknown keys: known clients send some.
func (a *attributes) apply(in object) (bad object) {
	for _, p := range in {
		if why := a.applyPair(p); why != "" {
			bad.add("errors:"+p.key, why)
		}
	}
	return bad
}

func (a *attributes) applyPair(p pair) (why string) {
	user := strings.HasPrefix(p.key, userPrefix) && p.key != userPrefix
	switch p.key {
	case "name", "claim:type", "readers", "tags", "use":
	default:
		if !user || !printable(p.key) {
			return ""
		}
	}
	if !printable(p.value) {
		return "must not contain control characters"
	}
	switch p.key {
	case "name":
		if p.value == "" {
			return "a name is required"
		}
		a.name = p.value
	case "claim:type":
		return a.setClaimType(p.value)
	case "readers":
		return a.setReaders(p.value)
	case "tags":
		a.tags = strings.Fields(p.value)
	case "use":
		a.use = p.value
	default:
		if p.value == "" {
			a.user.remove(p.key)
		} else {
			a.user.set(p.key, p.value)
		}
	}
	return ""
}

func (a *attributes) setClaimType(value string) (why string) {
	switch value {
	case "":
		a.claim = claimExclusive
	case claimExclusive, claimShared:
		a.claim = value
	default:
		return "must be exclusive or shared"
	}
	return ""
}

func (a *attributes) setReaders(value string) (why string) {
	var readers []string
	for _, r := range strings.Fields(value) {
		id, ok := parseUUID(r)
		if !ok {
			return "must be UUIDs, separated by one space"
		}
		readers = append(readers, id)
	}
	a.readers = readers
	return ""
}

// applyCipher sets encryption:cipher, which only create takes (manual 7.1).
func (a *attributes) applyCipher(in object) (bad object) {
	switch value, _ := in.get("encryption:cipher"); value {
	case "":
	case cipherDefault, cipherNone:
		a.cipher = value
	default:
		bad.add("errors:encryption:cipher", "must be aes-xts-plain or none")
	}
	return bad
}

// applyDriveType reads libcloud's driveType, which create and clone may carry: ssd means the tag
// affinity:ssd.
func (a *attributes) applyDriveType(in object) {
	value, _ := in.get("driveType")
	if strings.EqualFold(value, "ssd") && !slices.Contains(a.tags, tagSSD) {
		a.tags = append(a.tags, tagSSD)
	}
}

// pairs adds the attributes in the order of responses and descriptions. It leaves empty ones out:
// some clients cannot read a key with an empty value.
func (a *attributes) pairs(o *object) {
	o.add("claim:type", a.claim)
	if len(a.readers) > 0 {
		o.add("readers", strings.Join(a.readers, " "))
	}
	if len(a.tags) > 0 {
		o.add("tags", strings.Join(a.tags, " "))
	}
	if a.use != "" {
		o.add("use", a.use)
	}
	if a.cipher != "" {
		o.add("encryption:cipher", a.cipher)
	}
	*o = append(*o, a.text...)
	*o = append(*o, a.user...)
}

// attributesOf is the inverse of drive.description.
func attributesOf(o object) (attributes, error) {
	a := newAttributes()
	a.name, _ = o.get("name")
	if kind, ok := o.get("type"); ok {
		a.kind = kind
	}
	a.applyCipher(o)
	a.apply(o)
	a.text = libraryText(o)
	size, _ := o.get("size")
	var err error
	a.size, err = parseSize(size)
	return a, err
}

// libraryText are the library keys of o, in a fixed order.
func libraryText(o object) (text object) {
	for _, key := range slices.Sorted(maps.Keys(libraryKeys)) {
		if value, _ := o.get(key); value != "" && printable(value) {
			text.add(key, value)
		}
	}
	return text
}
