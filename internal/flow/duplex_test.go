package flow

import (
	"testing"
	"time"
)

// TestRoom is as large as what a call in its direction takes, however many there have been.
func TestRoom(t *testing.T) {
	d := NewDuplex(func() int { return 8 })
	for range 5 {
		d.Observe(Write, time.Second)
	}
	if w, r := d.room(Write), d.room(ReadBack); w != 4 || r != 4 {
		t.Errorf("before anything is read back %d are written, %d read back", w, r)
	}
	d.Observe(ReadBack, time.Second)
	d.divide()
	if w, r := d.room(Write), d.room(ReadBack); w != 4 || r != 4 {
		t.Errorf("of calls as long as each other %d are written, %d read back", w, r)
	}
	for range 100 {
		d.Observe(Write, 100*time.Second)
		d.Observe(ReadBack, time.Second)
	}
	if w, r := d.room(Write), d.room(ReadBack); w != 8 || r != 1 {
		t.Errorf("of slow writes there are %d, and %d are read back", w, r)
	}
}
