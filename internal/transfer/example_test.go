package transfer_test

import (
	"errors"
	"fmt"

	"github.com/transferd/transferd/internal/transfer"
)

// Schemes are tried in order. Every text is a path if it is nothing else.
func ExampleSchemes_Parse() {
	schemes := transfer.Schemes{transfer.Stdio, transfer.URLs, transfer.Files}
	for _, text := range []string{
		"disk.img", "-", "https://user:secret@example.org/disk.img?token=secret", "ftp://example.org/disk.img",
	} {
		r, err := schemes.Parse(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		s, _ := schemes.Of(r)
		fmt.Println(s.Name, r.Redacted())
	}
	// Output:
	// file disk.img
	// stdio -
	// url https://…@example.org/disk.img?…
	// read address: "ftp://example.org/disk.img" is not an address
}

// Sizes are powers of 1024 and exact.
func ExampleParseSize() {
	for _, text := range []string{"4M", "1536k", "10G", "1.5G"} {
		n, err := transfer.ParseSize(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(n, transfer.FormatSize(n))
	}
	// Output:
	// 4194304 4M
	// 1572864 1536k
	// 10737418240 10G
	// read size: "1.5G" is not a size
}

// The code of an error decides the exit status and whether to retry. Wrapping keeps the code.
func ExampleError() {
	cause := transfer.Errorf(transfer.CodeConflict, "wait for the other job", "status 409")
	err := fmt.Errorf("upload: %w", &transfer.Error{Op: "write chunk 7", Code: transfer.CodeOf(cause), Err: cause})

	code := transfer.CodeOf(err)
	fmt.Println(err)
	fmt.Println(code, code.ExitStatus(), code.Retry() == transfer.RetryDrive, errors.Is(err, cause))
	// Output:
	// upload: write chunk 7: status 409
	// conflict 1 true true
}

// An image of 10 MiB has two whole chunks of 4 MiB and a shorter one.
func ExampleChunkAt() {
	const size, chunkSize = 10 << 20, 4 << 20
	for i := range transfer.ChunkCount(size, chunkSize) {
		c := transfer.ChunkAt(i, size, chunkSize)
		fmt.Println(c.Index, c.Off, c.Len)
	}
	// Output:
	// 0 0 4194304
	// 1 4194304 4194304
	// 2 8388608 2097152
}
