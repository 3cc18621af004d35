package partition

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfertest"
)

// sum makes the checksum of a header right.
func sum(p []byte) {
	clear(p[gptSum : gptSum+4])
	binary.LittleEndian.PutUint32(p[gptSum:], crc32.ChecksumIEEE(p[:gptLeast]))
}

// TestReadGPT reads headers in sectors of both sizes, and no damaged ones.
func TestReadGPT(t *testing.T) {
	const size = 1 << 30
	for _, sector := range []int{512, 4096} {
		head := transfertest.GPT(sector, size)
		if table, ok := ReadGPT(head); !ok || table.End != size {
			t.Errorf("sectors of %d: got %+v, %v, want %d", sector, table, ok, size)
		}
		for name, damage := range map[string]func(p []byte){
			"magic": func(p []byte) { p[0]++ }, "sum": func(p []byte) { p[gptSum]++ }, "byte": func(p []byte) { p[60]++ },
			"not the first": func(p []byte) { p[gptOwnLBA] = 2; sum(p) },
			"far away":      func(p []byte) { p[gptBackup+7] = 0xff; sum(p) },
			"too long":      func(p []byte) { p[gptLength+1] = 0xff; sum(p) },
			"too short":     func(p []byte) { p[gptLength]--; sum(p) },
		} {
			head := transfertest.GPT(sector, size)
			if damage(head[sector:]); name == "" {
				continue
			}
			if table, ok := ReadGPT(head); ok {
				t.Errorf("sectors of %d, %s: got %+v", sector, name, table)
			}
		}
		if _, ok := ReadGPT(head[:sector+gptLeast-1]); ok {
			t.Errorf("sectors of %d: read a header that is cut off", sector)
		}
	}
	if _, ok := ReadGPT(make([]byte, HeadSize)); ok {
		t.Error("zeros have a table")
	}
}

// TestMisplaced says what is wrong where the table is of a disk of another size.
func TestMisplaced(t *testing.T) {
	for size, want := range map[int64]string{
		1 << 20: "", 1<<20 + 512: "ends at byte 1048576, and the disk at 1049088", 1<<20 - 512: "truncated",
	} {
		got := GPT{End: 1 << 20}.Misplaced(size)
		mends := strings.Contains(got, "sgdisk -e DEVICE")
		if mends != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%d: got %q, want %q", size, got, want)
		}
	}
}

// FuzzReadGPT reads anything, and of a table only what its sum holds for.
func FuzzReadGPT(f *testing.F) {
	f.Add(transfertest.GPT(512, 1<<20))
	f.Add(transfertest.GPT(4096, 1<<40))
	f.Fuzz(func(t *testing.T, head []byte) {
		if table, ok := ReadGPT(head); ok && (table.End < 512 || table.End > maxDiskSize) {
			t.Errorf("%x: got %+v", head, table)
		}
	})
}
