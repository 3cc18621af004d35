package sandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// libraryUser owns the standard drives.
const libraryUser = "00000000-0000-0000-0000-000000000001"

// newUUID is a random UUID (version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return formatUUID(b, 4)
}

// namedUUID is always the same for the same name (version 8, from a SHA-256).
func namedUUID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return formatUUID([16]byte(sum[:16]), 8)
}

func formatUUID(b [16]byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// parseUUID returns s in lower case, or false if it does not have the form 8-4-4-4-12 hexadecimal digits.
func parseUUID(s string) (string, bool) {
	if len(s) != 36 {
		return "", false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return "", false
			}
			continue
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return "", false
		}
	}
	return strings.ToLower(s), true
}
