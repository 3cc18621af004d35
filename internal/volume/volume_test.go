package volume

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfertest"
)

// mbr is a boot record with a partition of type kind.
func mbr(kind byte, first, count uint32) []byte {
	head := make([]byte, HeadSize)
	copy(head[510:], bootSignature)
	e := head[446+16:]
	e[4] = kind
	binary.LittleEndian.PutUint32(e[8:], first)
	binary.LittleEndian.PutUint32(e[12:], count)
	return head
}

// gpt is a GPT on sectors of size bytes, with its second entry in use.
func gpt(size int, first, last uint64) []byte {
	head := mbr(0xee, 1, 1<<20)
	h := head[size:]
	copy(h, gptSignature)
	binary.LittleEndian.PutUint64(h[72:], 2)
	binary.LittleEndian.PutUint32(h[80:], 128)
	binary.LittleEndian.PutUint32(h[84:], 128)
	e := head[2*size+128:]
	e[0] = 1
	binary.LittleEndian.PutUint64(e[32:], first)
	binary.LittleEndian.PutUint64(e[40:], last)
	return head
}

func tableOf(kind string, p Partition) Table { return Table{Kind: kind, Partitions: []Partition{p}} }

func TestParseTableReadsGPTAndMBR(t *testing.T) {
	withBoot := mbr(7, 63, 1000)
	copy(withBoot[3:], "NTFS    ")
	for name, tc := range map[string]struct {
		head []byte
		want Table
		ok   bool
	}{
		"nothing":       {head: make([]byte, HeadSize)},
		"short":         {head: make([]byte, 100)},
		"MBR":           {mbr(0x83, 2048, 4096), tableOf("MBR", Partition{2, 1 << 20, 2 << 20}), true},
		"a boot sector": {head: withBoot},
		"no entry":      {head: mbr(0, 2048, 4096)},
		"GPT":           {gpt(512, 2048, 4095), tableOf("GPT", Partition{2, 1 << 20, 1 << 20}), true},
		"GPT, 4k":       {gpt(4096, 256, 511), tableOf("GPT", Partition{2, 1 << 20, 1 << 20}), true},
		"GPT, damaged":  {mbr(0xee, 1, 100), Table{Kind: "GPT"}, true},
	} {
		if got, ok := ParseTable(tc.head); ok != tc.ok || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %+v, %v; want %+v, %v", name, got, ok, tc.want, tc.ok)
		}
	}
}

func TestEndsWithGPTFindsABackup(t *testing.T) {
	tail := make([]byte, 64<<10)
	if EndsWithGPT(tail) || EndsWithGPT(nil) {
		t.Error("zeros: got true, want false")
	}
	copy(tail[len(tail)-512:], gptSignature)
	if !EndsWithGPT(tail) {
		t.Error("a GPT in the last sector: got false, want true")
	}
}

// TestFileSystemsOfMkfsAreRecognised: FileSystem recognises the file systems that mkfs makes, and
// ParseTable finds no table in them.
func TestFileSystemsOfMkfsAreRecognised(t *testing.T) {
	for want, tc := range map[string]struct{ command, debian string }{
		"ext2/3/4": {"mkfs.ext4 -q", "e2fsprogs"},
		"XFS":      {"mkfs.xfs -q", "xfsprogs"},
		"Btrfs":    {"mkfs.btrfs -q", "btrfs-progs"},
		"FAT":      {"mkfs.vfat", "dosfstools"},
		"swap":     {"mkswap -q", "util-linux"},
	} {
		args := strings.Fields(tc.command)
		transfertest.RequireProgram(t, args[0], tc.debian)
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 512<<20); err != nil {
			t.Fatal(err)
		}
		mkfs := exec.CommandContext(t.Context(), args[0], append(args[1:], path)...)
		if text, err := mkfs.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", tc.command, err, text)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, HeadSize)
		if _, err := f.Read(head); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got := FileSystem(head); got != want {
			t.Errorf("%s: got %q, want %q", tc.command, got, want)
		}
		if table, ok := ParseTable(head); ok {
			t.Errorf("%s: got table %+v, want none", tc.command, table)
		}
	}
}

func TestZerosAreNoFileSystem(t *testing.T) {
	if got := FileSystem(make([]byte, HeadSize)); got != "" {
		t.Errorf("got %q, want none", got)
	}
}

// FuzzParseTable: any bytes are read without a panic, and no partition or end overflows an int64.
func FuzzParseTable(f *testing.F) {
	f.Add(mbr(0x83, 2048, 4096))
	f.Add(gpt(512, 2048, 4095))
	f.Add(gpt(4096, 256, 511))
	f.Add(transfertest.GPT(512, 1<<20))
	f.Add(transfertest.GPT(4096, 1<<40))
	f.Fuzz(func(t *testing.T, head []byte) {
		table, _ := ParseTable(head)
		if table.End != 0 && (table.End < 512 || table.End > maxDiskSize) {
			t.Fatalf("got end %d, want 0 or 512 to %d", table.End, int64(maxDiskSize))
		}
		for _, p := range table.Partitions {
			if p.Off < 0 || p.Len <= 0 || p.Off+p.Len < 0 {
				t.Fatalf("got partition %+v, want one within an int64", p)
			}
		}
		FileSystem(head)
		EndsWithGPT(head)
	})
}
