package transfer

import "strings"

// Resembles reports whether name may be a mistyped known name: a prefix of at least three bytes, or
// at most two edits away. It ignores case.
func Resembles(known, name string) bool {
	known, name = strings.ToLower(known), strings.ToLower(name)
	return len(name) >= 3 && strings.HasPrefix(known, name) || distance(known, name) <= min(2, len(known)/2)
}

// distance is the Levenshtein distance of two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
