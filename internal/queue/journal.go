package queue

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/redis/go-redis/v9"
)

// journal is a file of commands, each in a frame: the length of what follows the two numbers and its CRC-32C, 4 bytes
// each, little-endian; then each word of the command after its length, 4 bytes. A frame that is not whole ends it: a
// crash left it.
type journal struct{ file *os.File }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maxFrame bounds what a damaged length can ask for, in bytes. Frames hold a save of some hundred chunks, or, after a
// rewrite, a whole ledger.
const maxFrame = 1 << 30

const frameHeader = 8

func encodeFrame(command []string) []byte {
	b := make([]byte, frameHeader)
	for _, word := range command {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(word)))
		b = append(b, word...)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-frameHeader))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[frameHeader:], castagnoli))
	return b
}

var errTorn = errors.New("incomplete frame")

// decodeFrame reads one command; io.EOF at the end, errTorn for what is not a whole frame.
func decodeFrame(r io.Reader) ([]string, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, errTorn
	}
	n := binary.LittleEndian.Uint32(header[:])
	if n > maxFrame {
		return nil, errTorn
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil || uint32(len(body)) != n || crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(header[4:]) {
		return nil, errTorn
	}
	var command []string
	for len(body) >= 4 {
		n := binary.LittleEndian.Uint32(body)
		if body = body[4:]; int64(n) > int64(len(body)) {
			return nil, errTorn
		}
		command, body = append(command, string(body[:n])), body[n:]
	}
	if len(body) > 0 || len(command) == 0 {
		return nil, errTorn
	}
	return command, nil
}

func (j *journal) append(command []string) error {
	if _, err := j.file.Write(encodeFrame(command)); err != nil {
		return err
	}
	return j.file.Sync()
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}

// replayJournal carries out the commands of a journal, up to its end or to where a crash left it.
func replayJournal(path string, rdb *redis.Client) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for r := bufio.NewReaderSize(f, 1<<20); ; {
		command, err := decodeFrame(r)
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			return nil
		}
		words := make([]any, len(command))
		for i, w := range command {
			words[i] = w
		}
		if err := rdb.Do(context.Background(), words...).Err(); err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
			return fmt.Errorf("%s: %w", command[0], err)
		}
	}
}

// rewriteJournal puts a journal of the given commands in the place of the old one.
func rewriteJournal(path string, commands [][]string) (*journal, error) {
	f, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriter(f)
	for _, c := range commands {
		if _, err = w.Write(encodeFrame(c)); err != nil {
			break
		}
	}
	if err = errors.Join(err, w.Flush(), f.Sync()); err == nil {
		err = errors.Join(os.Rename(path+".tmp", path), syncDir(filepath.Dir(path)))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journal{file: f}, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// dialOnce hands out the one connection that there is to a server without a listener.
func dialOnce(conn net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return conn, nil }
}
