package codec_test

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/transferd/transferd/internal/codec"
	"github.com/transferd/transferd/internal/transfer"
)

// A chunk is compressed, sent and released. The other end decodes it.
func Example() {
	chunk := bytes.Repeat([]byte("boot sector "), 1000)
	encoder := codec.NewCodec(6)

	body := encoder.Encode(chunk)
	defer body.Release()
	body.Sending()
	wire := bytes.NewReader(body.Bytes)
	body.Arrived(len(chunk))

	var decoder codec.Reader
	if err := decoder.Reset(wire); err != nil {
		fmt.Println(err)
		return
	}
	got, err := io.ReadAll(&decoder)
	fmt.Println("gzip:", body.Gzip, "shorter:", len(body.Bytes) < len(chunk))
	fmt.Println("equal:", bytes.Equal(got, chunk), "error:", err)
	// Output:
	// gzip: true shorter: true
	// equal: true error: <nil>
}

// With CompressionAuto the first part of a chunk is sent plain, to measure the link. The rest of
// the chunk is encoded as that measurement suggests.
func ExampleCodec_Probe() {
	chunk := bytes.Repeat([]byte("boot sector "), 1<<18)
	encoder := codec.NewCodec(transfer.CompressionAuto)

	n := encoder.Probe(len(chunk), 20*time.Millisecond)
	probe := encoder.Plain(chunk[:n])
	probe.Sending()
	probe.Arrived(n)
	probe.Release()
	fmt.Println("probe:", transfer.FormatSize(int64(n)), "next probe:", encoder.Probe(len(chunk), 0))
	// Output: probe: 512k next probe: 0
}
