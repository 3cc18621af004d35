package codec_test

import (
	"bytes"
	"fmt"
	"io"

	"github.com/transferd/transferd/internal/codec"
)

// A chunk is encoded, sent and released; at the other end it is read.
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
	fmt.Println(body.Gzip, bytes.Equal(got, chunk), err)
	// Output: true true <nil>
}
