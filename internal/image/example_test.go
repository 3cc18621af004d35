package image_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"

	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/transfer"
)

// The content shows that an image is compressed, whatever its name. Measure decodes it once to
// learn its size. A file outside of the roots is refused.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "disk.img")
	if err := compress(path, "what is on the disk"); err != nil {
		log.Print(err)
		return
	}

	ctx := context.Background()
	src, err := image.Open(ctx, path, image.Options{Roots: image.Roots{dir}, Measure: true})
	if err != nil {
		log.Print(err)
		return
	}
	defer src.Close()
	fmt.Println(src.Size(), "bytes")
	buf := make([]byte, 64)
	n, err := src.(transfer.Stream).Next(ctx, buf)
	fmt.Printf("%s, %t\n", buf[:n], errors.Is(err, io.EOF))

	_, err = image.Open(ctx, "/etc/passwd", image.Options{Roots: image.Roots{dir}})
	fmt.Println(transfer.CodeOf(err))

	// Output:
	// 19 bytes
	// what is on the disk, true
	// forbidden
}

// The ending of a name decides the format of a new file. A format that is not written is refused.
func ExampleFormatOfName() {
	for _, name := range []string{"disk.img", "disk.img.gz", "disk.zst", "disk.vmdk"} {
		format, err := image.FormatOfName(name, "")
		fmt.Printf("%s: %q %q\n", name, format, transfer.CodeOf(err))
	}
	// Output:
	// disk.img: "raw" ""
	// disk.img.gz: "gz" ""
	// disk.zst: "zst" ""
	// disk.vmdk: "" "invalid"
}

func compress(path, text string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	_, err = io.WriteString(z, text)
	return errors.Join(err, z.Close(), f.Close())
}
