package sandbox

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/diskfs/go-diskfs/partition/mbr"
)

const (
	// generatedSize is the size of a generated image, in bytes. The service allocates in units of
	// 4 MiB, of which the file takes up a few KiB.
	generatedSize = 4 << 20

	sectorSize     = 512
	partitionStart = 1 << 20 // offset of the partition, in bytes

	volumeLabel = "SANDBOX"
	readmeName  = "README.TXT"
	readmeText  = "This is a standard drive of transferd sandbox.\r\n" +
		"It boots and halts: it has no operating system.\r\n"
)

// bootSector is a boot sector for a BIOS, which loads it to 0000:7c00: it prints a message and
// halts.
func bootSector() []byte {
	const message = "transferd sandbox: this drive has no operating system.\r\n\x00"
	code := []byte{
		0x31, 0xc0, //       xor ax, ax
		0x8e, 0xd8, //       mov ds, ax
		0x31, 0xdb, //       xor bx, bx
		0xbe, 0x18, 0x7c, // mov si, message
		0xfc,       //       cld
		0xac,       // next: lodsb
		0x84, 0xc0, //       test al, al
		0x74, 0x06, //       jz halt
		0xb4, 0x0e, //       mov ah, 0x0e
		0xcd, 0x10, //       int 0x10
		0xeb, 0xf5, //       jmp next
		0xf4,       // halt: hlt
		0xeb, 0xfd, //       jmp halt
	}
	sector := make([]byte, sectorSize)
	copy(sector[copy(sector, code):], message)
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

// writeBootableDisk writes a disk with a boot sector and one bootable partition, which has a FAT12
// file system with a file.
func writeBootableDisk(f *os.File, _ string) error {
	if err := f.Truncate(generatedSize); err != nil {
		return err
	}
	if _, err := f.WriteAt(bootSector(), 0); err != nil {
		return err
	}
	table := mbr.Table{Partitions: []*mbr.Partition{{
		Bootable: true, Type: mbr.Fat12,
		Start: partitionStart / sectorSize, Size: (generatedSize - partitionStart) / sectorSize,
	}}}
	storage := file.New(f, false)
	disk, err := storage.Writable()
	if err != nil {
		return err
	}
	if err := table.Write(disk, generatedSize); err != nil {
		return err
	}
	volume, err := fat12.Create(storage, generatedSize-partitionStart, partitionStart, sectorSize, volumeLabel, true)
	if err != nil {
		return err
	}
	readme, err := volume.OpenFile("/"+readmeName, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	_, err = readme.Write([]byte(readmeText))
	return errors.Join(err, readme.Close())
}

// writeBootableCD writes an ISO 9660 file system with a file and, by El Torito, a boot sector. The
// folder workspace is made for its files, and removed.
func writeBootableCD(f *os.File, workspace string) error {
	const boot, catalog = "BOOT.BIN", "BOOT.CAT"
	if err := os.Mkdir(workspace, 0o700); err != nil {
		return err
	}
	for name, content := range map[string][]byte{boot: bootSector(), readmeName: []byte(readmeText)} {
		if err := os.WriteFile(filepath.Join(workspace, name), content, 0o600); err != nil {
			return err
		}
	}
	volume, err := iso9660.Create(file.New(f, false), 0, 0, 0, workspace)
	if err != nil {
		return err
	}
	entry := &iso9660.ElToritoEntry{Platform: iso9660.BIOS, Emulation: iso9660.NoEmulation, BootFile: boot}
	entry.SetLoadSize(1)
	return volume.Finalize(iso9660.FinalizeOptions{
		VolumeIdentifier: volumeLabel,
		ElTorito:         &iso9660.ElTorito{BootCatalog: catalog, Entries: []*iso9660.ElToritoEntry{entry}},
	})
}
