package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"
	"os"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/codec"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/transfer"
)

// A client makes a drive on a sandbox, writes a chunk and reads it back.
func Example() {
	dir, err := os.MkdirTemp("", "sandbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := sandbox.New(sandbox.Config{Dir: dir, User: "ops", Password: "secret"})
	if err != nil {
		log.Print(err)
		return
	}
	defer s.Close()
	server := httptest.NewServer(s.Handler())
	defer server.Close()

	client, err := api.New(api.Config{Name: "zrh", URL: server.URL, User: "ops", Password: "secret"})
	if err != nil {
		log.Print(err)
		return
	}
	ctx := context.Background()
	info, err := client.CreateDrive(ctx, api.CreateOptions{Name: "disk", Size: 1 << 20})
	if err != nil {
		log.Print(err)
		return
	}
	drive, err := api.OpenDrive(ctx, client, info.UUID)
	if err != nil {
		log.Print(err)
		return
	}

	chunk := transfer.Chunk{Off: 64 << 10, Len: 4096}
	sink := drive.ForWriting(codec.NewCodec(transfer.CompressionAuto), true)
	err = sink.WriteChunk(ctx, chunk, bytes.Repeat([]byte("data"), chunk.Len/4))
	got := make([]byte, chunk.Len)
	err = errors.Join(err, drive.ReadChunk(ctx, chunk, got))
	fmt.Printf("%q, %d bytes, %v\n", got[:8], drive.Size(), err)

	_, err = client.Drive(ctx, "no-uuid")
	fmt.Println(transfer.CodeOf(err))
	// Output:
	// "datadata", 1048576 bytes, <nil>
	// invalid
}
