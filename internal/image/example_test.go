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

// A compressed image is known by its content, whatever its name is. It is decoded once to measure
// it.
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

func compress(path, text string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	_, err = io.WriteString(z, text)
	return errors.Join(err, z.Close(), f.Close())
}
