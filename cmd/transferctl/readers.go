package main

import (
	"slices"

	"github.com/transferd/transferd/internal/api"
)

// The readers of a drive that are no UUIDs.
const (
	readersAll  = "all"
	readersNone = "none"
)

// readersOf returns the UUIDs of the readers that a user wants a drive to have.
func readersOf(texts []string) ([]string, error) {
	if len(texts) == 1 && texts[0] == readersNone {
		return nil, nil
	}
	readers := api.ParseReaders(texts)
	return readers, api.CreateOptions{Readers: readers}.Check()
}

// readersText is the readers of a drive, as users write them.
func readersText(uuids []string) []string {
	if slices.Contains(uuids, api.AllReaders) {
		return []string{readersAll}
	}
	return notNil(uuids)
}
