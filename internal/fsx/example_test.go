package fsx_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/transferd/transferd/internal/fsx"
)

// The file appears with its whole content. Without replace, an existing file stays.
func ExampleWriteFile() {
	dir, err := os.MkdirTemp("", "fsx")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "state.json")
	write := func(w io.Writer) error {
		_, err := io.WriteString(w, `{"chunks": 3}`)
		return err
	}

	fmt.Println(fsx.WriteFile(path, 0o600, false, write))
	err = fsx.WriteFile(path, 0o600, false, write)
	fmt.Println("exists:", errors.Is(err, fs.ErrExist))
	text, err := os.ReadFile(path)
	fmt.Println(string(text), err)
	// Output:
	// <nil>
	// exists: true
	// {"chunks": 3} <nil>
}
