package api

import "strings"

// Claim says what holds a drive, as the drive's `claimed` has it: HOST:guest:SERVER:DEVICE for a
// running server.
type Claim struct {
	Server string // UUID; empty: another holder, such as a clone that reads the drive
	Device string // of the server
	Text   string // the complete claim
}

// ParseClaim reads one value of DriveInfo.Claimed.
func ParseClaim(text string) Claim {
	c := Claim{Text: text}
	words := strings.SplitN(text, ":", 4)
	if len(words) == 4 && words[1] == "guest" && ValidUUID(strings.ToLower(words[2])) {
		c.Server, c.Device = strings.ToLower(words[2]), words[3]
	}
	return c
}
