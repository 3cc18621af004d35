package volume

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
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

func TestParseTable(t *testing.T) {
	withBoot := mbr(7, 63, 1000)
	copy(withBoot[3:], "NTFS    ")
	for name, tc := range map[string]struct {
		head []byte
		want Table
		ok   bool
	}{
		"nothing":       {head: make([]byte, HeadSize)},
		"short":         {head: make([]byte, 100)},
		"MBR":           {mbr(0x83, 2048, 4096), Table{"MBR", []Partition{{2, 1 << 20, 2 << 20}}}, true},
		"a boot sector": {head: withBoot},
		"no entry":      {head: mbr(0, 2048, 4096)},
		"GPT":           {gpt(512, 2048, 4095), Table{"GPT", []Partition{{2, 1 << 20, 1 << 20}}}, true},
		"GPT, 4k":       {gpt(4096, 256, 511), Table{"GPT", []Partition{{2, 1 << 20, 1 << 20}}}, true},
		"GPT, damaged":  {mbr(0xee, 1, 100), Table{Kind: "GPT"}, true},
	} {
		if got, ok := ParseTable(tc.head); ok != tc.ok || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %+v, %v; want %+v, %v", name, got, ok, tc.want, tc.ok)
		}
	}
}

func TestEndsWithGPT(t *testing.T) {
	tail := make([]byte, 64<<10)
	if EndsWithGPT(tail) || EndsWithGPT(nil) {
		t.Error("zeros are taken for a GPT")
	}
	copy(tail[len(tail)-512:], gptSignature)
	if !EndsWithGPT(tail) {
		t.Error("a GPT in the last sector is not found")
	}
}

// TestFileSystem recognises what the tools at hand make.
func TestFileSystem(t *testing.T) {
	if got := FileSystem(make([]byte, HeadSize)); got != "" {
		t.Errorf("zeros are %q", got)
	}
	for want, command := range map[string]string{
		"ext2/3/4": "mkfs.ext4 -q", "XFS": "mkfs.xfs -q", "Btrfs": "mkfs.btrfs -q", "FAT": "mkfs.vfat", "swap": "mkswap -q",
	} {
		args := strings.Fields(command)
		tool, err := exec.LookPath(args[0])
		if err != nil {
			continue
		}
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 512<<20); err != nil {
			t.Fatal(err)
		}
		if text, err := exec.CommandContext(t.Context(), tool, append(args[1:], path)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, text)
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
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
		if table, ok := ParseTable(head); ok {
			t.Errorf("%s: taken for %+v", command, table)
		}
	}
}

// FuzzParseTable reads any bytes without a panic, and returns no partition outside of what int64 counts.
func FuzzParseTable(f *testing.F) {
	f.Add(mbr(0x83, 2048, 4096))
	f.Add(gpt(512, 2048, 4095))
	f.Add(gpt(4096, 256, 511))
	f.Fuzz(func(t *testing.T, head []byte) {
		table, _ := ParseTable(head)
		for _, p := range table.Partitions {
			if p.Off < 0 || p.Len <= 0 || p.Off+p.Len < 0 {
				t.Fatalf("%+v", p)
			}
		}
		FileSystem(head)
		EndsWithGPT(head)
	})
}
