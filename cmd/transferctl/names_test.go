package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestErrorsListNamesUpToALimit: the hint about an unknown name lists what there is, and how many
// more.
func TestErrorsListNamesUpToALimit(t *testing.T) {
	for n, want := range map[int]string{
		0:             "it has no drives",
		1:             `its drives are "disk-0"`,
		maxListed:     `"disk-19"`,
		maxListed + 2: `"disk-19", and 2 more`,
	} {
		var all []object
		for i := range n {
			all = append(all, object{UUID: someUUID, Name: fmt.Sprintf("disk-%d", i)})
		}
		if got := otherNames(&driveObjects, all, "web"); !strings.HasSuffix(got, want) {
			t.Errorf("%d drives: got %q, want the end %q", n, got, want)
		}
	}
	got := otherNames(&driveObjects, []object{{UUID: someUUID}}, "web")
	if want := "its drives are " + someUUID; got != want {
		t.Errorf("a drive without a name: got %q, want %q", got, want)
	}
}
