package image

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/qcow2"
	"github.com/transferd/transferd/internal/diskformat/vdi"
	"github.com/transferd/transferd/internal/diskformat/vhd"
	"github.com/transferd/transferd/internal/diskformat/vhdx"
	"github.com/transferd/transferd/internal/diskformat/vmdk"
	"github.com/transferd/transferd/internal/transfer"
)

// format is a way to store an image, or a kind of file that is no image. It depends neither on the
// medium nor on the destination.
type format struct {
	name       string          // in messages, with its article
	id         transfer.Format // the name in jobs; empty: jobs cannot request it
	signatures []signature     // content with one of them has this format
	endings    []string        // of file names; a file with such a name has this format, or is damaged

	// convert is the command that converts the file IN to OUT, a raw image. A format that is not
	// read here is refused: no machine could use a drive with such a file on it.
	convert string
	// advice says what to do if no command helps.
	advice string
	// archive says that the file has others in it, one of them an image.
	archive bool
	// disk opens the virtual disk in a file with offsets; files opens others that it names. nil: the
	// format has no disk.
	disk   openDiskFunc
	decode func(in *input) (decoder, error)   // reads an image in order from any medium; nil: that is not possible
	encode func(w io.Writer) (encoder, error) // stores an image; nil: images of this format are not written
}

type openDiskFunc func(ctx context.Context, f diskformat.File, files diskformat.Opener) (diskformat.Disk, error)

// alone is for a format whose images need no other file.
func alone(open func(ctx context.Context, f diskformat.File) (diskformat.Disk, error)) openDiskFunc {
	return func(ctx context.Context, f diskformat.File, _ diskformat.Opener) (diskformat.Disk, error) {
		return open(ctx, f)
	}
}

// raw is the format of all content without a signature.
var raw = format{
	name: "a raw image", id: transfer.FormatRaw, decode: decodeRaw, encode: encodeRaw,
}

// readable reports whether images of this format are read. Others are refused.
func (f *format) readable() bool { return f.decode != nil || f.disk != nil }

// writable reports whether images of this format are written.
func (f *format) writable() bool { return f.encode != nil || f.id == transfer.FormatQcow2 }

const convertByQemu = "qemu-img convert -O raw IN OUT"

// formats are all formats but raw; the first match counts. If there is no standard, the sources are
// the probes of QEMU (block/*.c) and the magic files of file(1). A signature has 32 bits or more.
// Shorter ones would match raw images by chance, such as encrypted ones, whose first bytes are
// random.
var formats = []format{
	{name: "a qcow image", signatures: at(0, "QFI\xfb\x00\x00\x00\x01"), convert: convertByQemu},
	{
		name: "a qcow2 image", id: transfer.FormatQcow2, signatures: at(0, "QFI\xfb"),
		convert: convertByQemu, disk: qcow2.Open, // written by qcow2Sink
	},
	{name: "a QED image", signatures: at(0, "QED\x00"), convert: convertByQemu},
	{
		// A sparse extent, or the text that names extents.
		name: "a VMDK image", signatures: append(at(0, "KDMV"), text("# disk descriptorfile")...),
		convert: convertByQemu, disk: vmdk.Open,
	},
	{
		name: "a sparse VMDK image of ESX", convert: convertByQemu,
		signatures: at(0, "COWD", "\xbe\xba\xfe\xca\x00\x00\x00\x00"), // the second since vSphere 6.5
	},
	{name: "a VHDX image", signatures: at(0, "vhdxfile"), convert: convertByQemu, disk: alone(vhdx.Open)},
	{
		name: "a VHD image", signatures: at(0, "conectix"), convert: "qemu-img convert -f vpc -O raw IN OUT",
		disk: alone(vhd.Open),
	},
	{
		// The footers of old programs have 511 bytes.
		name:       "a fixed VHD image (raw data with 512 bytes of footer behind it)",
		signatures: append(at(-512, "conectix"), at(-511, "conectix")...),
		convert:    "head -c -512 IN >OUT (or qemu-img convert -f vpc -O raw IN OUT)",
		disk:       alone(vhd.Open),
	},
	{name: "a VDI image", signatures: at(64, "\x7f\x10\xda\xbe"), convert: convertByQemu, disk: alone(vdi.Open)},
	{name: "a Parallels image", signatures: at(0, "WithoutFreeSpace", "WithouFreSpacExt"), convert: convertByQemu},
	{name: "a Bochs image", signatures: at(0, "Bochs Virtual HD Image"), convert: convertByQemu},
	{
		name: "a DMG image", signatures: at(-512, "koly\x00\x00\x00\x04"),
		convert: "qemu-img convert -f dmg -O raw IN OUT",
	},
	{
		name:       "an EWF image",
		signatures: at(0, "EVF\x09\x0d\x0a\xff\x00", "EVF2\x0d\x0a\x81\x00"), // of EnCase 1 to 6, 7
		convert:    "ewfexport -f raw -t OUT IN",
	},
	{name: "an AFF image", signatures: at(0, "AFF10\x0d\x0a\x00"), convert: "affconvert -r -o OUT IN"},
	{
		// vma_spec.txt of pve-qemu.
		name:       "a VMA archive of a virtual machine, a backup of Proxmox VE",
		signatures: at(0, "VMA\x00\x00\x00\x00\x01"),
		convert:    "vma extract IN FOLDER, and give the disk in FOLDER",
	},
	{name: "a CHD image", signatures: at(0, "MComprHD"), convert: "chdman extracthd -i IN -o OUT"},
	{
		name: "an Apple sparse image", signatures: at(0, "sprs\x00\x00\x00\x03"),
		convert: "hdiutil convert IN -format UDTO -o OUT (on macOS)",
	},
	{
		name: "an FSArchiver archive", signatures: at(0, "FsA0"),
		advice: "restore it to a disk first, by fsarchiver restfs, and give an image of that",
	},
	{
		name: "a Btrfs send stream", signatures: at(0, "btrfs-stream\x00"),
		advice: "receive it on a disk first, by btrfs receive, and give an image of that",
	},
	{name: "an Android sparse image", signatures: at(0, "\x3a\xff\x26\xed"), convert: "simg2img IN OUT"},
	{name: "a Partclone image", signatures: at(0, "partclone-image"), convert: "partclone.restore -W -s IN -o OUT"},
	{
		name: "an ntfsclone image", signatures: at(0, "\x00ntfsclone-image"),
		convert: "ntfsclone --restore-image -o OUT IN",
	},
	{
		name: "a WIM image of files", signatures: at(0, "MSWIM\x00\x00\x00"),
		advice: "apply it to a disk first, by wimapply or DISM, and give an image of that",
	},

	{
		name: "a tar archive", signatures: []signature{{is: isTar}}, endings: []string{".tar", ".ova"}, archive: true,
		convert: "tar -xf IN, and give the image that was in it",
		decode:  decodeTar,
	},
	{
		name:       "a zip archive",
		signatures: at(0, "PK\x03\x04", "PK\x05\x06", "PK\x07\x08"), // one with files, an empty one, a part of one
		convert:    "unzip -p IN >OUT",
	},
	{
		name: "a cpio archive", signatures: at(0, "070701", "070702", "070707"),
		convert: "cpio -id <IN, and give the image that was in it",
	},
	{name: "a 7z archive", signatures: at(0, "7z\xbc\xaf\x27\x1c"), convert: "7z x -so IN >OUT"},
	{name: "an ar archive or Debian package", signatures: at(0, "!<arch>\n"), convert: "ar p IN MEMBER >OUT"},
	{
		name: "an RPM package", signatures: at(0, "\xed\xab\xee\xdb"),
		convert: "rpm2archive IN, and give the image that was in it",
	},
	{
		name: "a CAB archive", signatures: at(0, "MSCF\x00\x00\x00\x00"),
		convert: "cabextract IN, and give the image that was in it",
	},
	{
		name: "a xar archive", signatures: at(0, "xar!\x00\x1c\x00\x01"),
		convert: "xar -xf IN, and give the image that was in it",
	},
	{name: "a RAR archive", signatures: at(0, "Rar!\x1a\x07"), convert: "unrar p -inul IN >OUT"},
	{
		name: "an xz file", signatures: at(0, "\xfd7zXZ\x00"), endings: []string{".xz", ".txz"},
		convert: "xz -dc IN >OUT", decode: decodeXz,
	},
	{
		// The size of the dictionary is free, that of the content is unknown.
		name: "an lzma file", endings: []string{".lzma"},
		signatures: []signature{{
			bytes: "\x5d\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",
			mask:  "\xff\xff\xff\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",
		}},
		convert: "xz -dc --format=lzma IN >OUT",
	},
	{
		name: "a bzip2 file", endings: []string{".bz2", ".tbz2", ".tbz"}, convert: "bzip2 -dc IN >OUT",
		decode:     decodeBzip2,
		signatures: at(4, "1AY&SY", "\x17\x72\x45\x38\x50\x90"), // of the first block, or of the end of an empty stream
	},
	{
		name: "an lz4 file", signatures: at(0, "\x04\x22\x4d\x18", "\x02\x21\x4c\x18"), endings: []string{".lz4"},
		convert: "lz4 -dc IN >OUT",
	},
	{
		name: "a file of compress (LZW)", endings: []string{".z"}, convert: "gzip -dc IN >OUT",
		signatures: []signature{{is: isCompress}},
	},
	{
		name: "a file of a Zstandard before 1.0", convert: "zstd -dc IN >OUT",
		signatures: at(0, "\x1e\xb5\x2f\xfd", "\x22\xb5\x2f\xfd", "\x23\xb5\x2f\xfd", "\x24\xb5\x2f\xfd",
			"\x25\xb5\x2f\xfd", "\x26\xb5\x2f\xfd", "\x27\xb5\x2f\xfd"),
	},
	{name: "an lzip file", signatures: at(0, "LZIP\x01"), endings: []string{".lz"}, convert: "lzip -dc IN >OUT"},
	{name: "an lrzip file", signatures: at(0, "LRZI\x00"), endings: []string{".lrz"}, convert: "lrzip -d -o OUT IN"},
	{
		name: "a Snappy file", signatures: at(0, "\xff\x06\x00\x00sNaPpY"), endings: []string{".sz"},
		convert: "snzip -dc IN >OUT",
	},
	{
		name: "an lzop file", signatures: at(0, "\x89LZO\x00\x0d\x0a\x1a\x0a"), endings: []string{".lzo"},
		convert: "lzop -dc IN >OUT",
	},

	{
		name: "an HTML page", advice: adviceOnPages,
		signatures: text("<!doctype html", "<html", "<head", "<body", "<title", "<meta", "<script", "<!--"),
	},
	{name: "a PDF document", signatures: at(0, "%PDF-"), advice: adviceOnPages},
	{name: "a JSON document", signatures: []signature{{is: isJSON}}, advice: adviceOnPages},
	{name: "an XML document", signatures: text("<?xml"), advice: adviceOnPages},
	{
		name: "a Git LFS pointer", signatures: text("version https://git-lfs.github.com/spec/"),
		advice: "fetch the file that it points to: git lfs pull",
	},

	{
		name: "a gzip file", id: transfer.FormatGzip, endings: []string{".gz", ".tgz"}, convert: "gzip -dc IN >OUT",
		// The method is deflate, and the reserved flags are zero (RFC 1952, 2.3.1).
		signatures: []signature{{bytes: "\x1f\x8b\x08\x00", mask: "\xff\xff\xff\xe0"}},
		decode:     decodeGzip, encode: encodeGzip,
	},
	{
		name: "a Zstandard file", id: transfer.FormatZstd, endings: []string{".zst", ".tzst"},
		convert: "zstd -dc IN >OUT",
		// A data frame or, since a file may begin with one, a skippable frame (RFC 8878, 3.1.1 and
		// 3.1.2).
		signatures: append(at(0, "\x28\xb5\x2f\xfd"),
			signature{bytes: "\x50\x2a\x4d\x18", mask: "\xf0\xff\xff\xff"}),
		decode: decodeZstd, encode: encodeZstd,
	},
}

const adviceOnPages = "open the address in a browser: it may need a sign-in, or lead to a page about the image; " +
	"give the address of the image itself"

// formatNamed is the format of that name in jobs; nil: there is none.
func formatNamed(id transfer.Format) *format {
	if id == raw.id {
		return &raw
	}
	i := slices.IndexFunc(formats, func(f format) bool { return id != "" && f.id == id })
	if i < 0 {
		return nil
	}
	return &formats[i]
}

// formatOf is the format of content, by its signatures.
func formatOf(s sample) *format {
	i := slices.IndexFunc(formats, func(f format) bool { return f.matches(s) })
	if i < 0 {
		return &raw
	}
	return &formats[i]
}

// refused is the error for content of this format in a file of format outer; nil: the content is
// the file itself.
func (f *format) refused(op string, outer *format) error {
	what, unpack := f.name, ""
	if outer == nil {
		outer = &raw
	}
	if outer != &raw {
		what, unpack = fmt.Sprintf("%s with %s in it", outer.name, f.name), outer.unpack()
	}
	return invalid(op, f.remedy(unpack)+outer.orAsIs(), "this is %s, not a raw image", what)
}

// unpack is the command that writes the content of a file of this format to FILE.
func (f *format) unpack() string { return strings.Replace(f.convert, "OUT", "FILE", 1) }

// orAsIs is the end of a hint: how to copy the content of a file of this format as it is.
func (f *format) orAsIs() string {
	if f.id == "" {
		return "; or copy it as it is: " + f.unpack() + ", and give FILE with --format raw"
	}
	return "; or copy it as it is by --format " + string(f.id)
}

// remedy is a hint what to do with a file of this format. The command unpack writes it to FILE
// first; empty: that is not needed.
func (f *format) remedy(unpack string) string {
	switch {
	case f.advice != "":
		return f.advice
	case unpack != "":
		return "make a raw image of it: " + unpack + " && " + strings.ReplaceAll(f.convert, "IN", "FILE")
	}
	return "make a raw image of it: " + f.convert
}
