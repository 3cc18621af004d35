package volume

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfertest"
)

// setSum sets the checksum of a header to the right value.
func setSum(p []byte) {
	clear(p[gptSum : gptSum+4])
	binary.LittleEndian.PutUint32(p[gptSum:], crc32.ChecksumIEEE(p[:gptMinHeader]))
}

// endOf is the End of the table in head; 0 if there is none.
func endOf(head []byte) int64 {
	t, _ := ParseTable(head)
	return t.End
}

// TestEndIsReadFromSoundHeadersOnly: the end comes from headers in sectors of both sizes, and from
// no damaged header.
func TestEndIsReadFromSoundHeadersOnly(t *testing.T) {
	const size = 1 << 30
	for _, sector := range []int{512, 4096} {
		head := transfertest.GPT(sector, size)
		if got := endOf(head); got != size {
			t.Errorf("sectors of %d: got %d, want %d", sector, got, size)
		}
		for name, damage := range map[string]func(p []byte){
			"magic":          func(p []byte) { p[0]++ },
			"sum":            func(p []byte) { p[gptSum]++ },
			"byte":           func(p []byte) { p[60]++ },
			"not the first":  func(p []byte) { p[gptOwnLBA] = 2; setSum(p) },
			"backup too far": func(p []byte) { p[gptBackup+7] = 0xff; setSum(p) },
			"too long":       func(p []byte) { p[gptLength+1] = 0xff; setSum(p) },
			"too short":      func(p []byte) { p[gptLength]--; setSum(p) },
		} {
			head := transfertest.GPT(sector, size)
			damage(head[sector:])
			if got := endOf(head); got != 0 {
				t.Errorf("sectors of %d, %s: got %d, want 0", sector, name, got)
			}
		}
		if got := endOf(head[:sector+gptMinHeader-1]); got != 0 {
			t.Errorf("sectors of %d, header cut off: got %d, want 0", sector, got)
		}
	}
	if got := endOf(make([]byte, HeadSize)); got != 0 {
		t.Errorf("zeros: got %d, want 0", got)
	}
}

// TestBackupWarningNamesACommand: the warning about a table of a disk of another size names a
// command that corrects it.
func TestBackupWarningNamesACommand(t *testing.T) {
	for size, want := range map[int64]string{
		1 << 20: "", 1<<20 + 512: "ends at byte 1048576, and the disk at 1049088", 1<<20 - 512: "truncated",
	} {
		got := Table{End: 1 << 20}.BackupWarning(size)
		corrects := strings.Contains(got, "sgdisk -e DEVICE")
		if corrects != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%d: got %q, want %q", size, got, want)
		}
	}
	if got := (Table{}).BackupWarning(1 << 20); got != "" {
		t.Errorf("without an end: got %q, want none", got)
	}
}
