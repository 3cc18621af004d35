package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// listing is a file of the cache for completions: the objects of one kind that an endpoint had. It
// holds no secret.
type listing struct {
	ListedAt time.Time `json:"listed_at"`
	Objects  []object  `json:"objects"`
}

// listingPath is the file of the cache for an account. Accounts are hashed, so that a file name
// does not show URL and user. It is empty if the user has no cache folder.
func (a *app) listingPath(k *objectKind, endpoint string) string {
	dir, err := os.UserCacheDir()
	e, ok := a.cfg.Endpoints[endpoint]
	if err != nil || !ok {
		return ""
	}
	account := sha256.Sum256([]byte(e.Account()))
	return filepath.Join(dir, "transferd", "completion", k.noun+"s-"+hex.EncodeToString(account[:8])+".json")
}

// remember stores what an endpoint has, for completions of the next minutes. address is that of the
// endpoint. Errors, such as a full disk, are no reason for a command to fail.
func (a *app) remember(k *objectKind, address string, objects []object) {
	endpoint, _, _ := strings.Cut(address, ":")
	path := a.listingPath(k, endpoint)
	text, err := json.Marshal(listing{ListedAt: time.Now(), Objects: objects})
	if path == "" || err != nil || os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	// Not durable and not atomic, because that takes time. A reader ignores a torn file.
	_ = os.WriteFile(path, text, 0o600)
}

// stored is what remember stored at most staleAge ago, and its age. Without it the age is staleAge.
func (a *app) stored(k *objectKind, endpoint string) ([]object, time.Duration) {
	path := a.listingPath(k, endpoint)
	text, err := os.ReadFile(path)
	var l listing
	if err != nil || json.Unmarshal(text, &l) != nil {
		return nil, staleAge
	}
	age := time.Since(l.ListedAt)
	if age < 0 || age > staleAge { // negative: the clock was set
		return nil, staleAge
	}
	return l.Objects, age
}
