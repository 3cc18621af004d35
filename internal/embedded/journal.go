package embedded

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

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
)

// journal is a file of commands, each in a frame: the length of the body and its CRC-32C, 4 bytes
// each, little-endian; then the body, which is the words of the command, each after its length of 4
// bytes. The last frame may be incomplete: a crash left it before it was acknowledged.
type journal struct {
	file   *os.File
	size   int64 // of the acknowledged frames, in bytes
	base   int64 // the size after the last rewrite
	broken error // why the journal accepts no more frames
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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

// decodeFrame decodes the command at the beginning of b; rest is the bytes after it. ok is false if
// b does not begin with a complete frame.
func decodeFrame(b []byte) (command []string, rest []byte, ok bool) {
	if len(b) < frameHeader {
		return nil, nil, false
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n > int64(len(b)-frameHeader) {
		return nil, nil, false
	}
	body, rest := b[frameHeader:frameHeader+n], b[frameHeader+n:]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, nil, false
	}
	for len(body) >= 4 {
		n := int64(binary.LittleEndian.Uint32(body))
		if body = body[4:]; n > int64(len(body)) {
			return nil, nil, false
		}
		command, body = append(command, string(body[:n])), body[n:]
	}
	return command, rest, len(body) == 0 && len(command) > 0
}

// append writes the commands that are not empty, and returns when they are on disk. After an error
// the journal has none of them.
func (j *journal) append(commands ...[]string) error {
	if j.broken != nil {
		return j.broken
	}
	var frames []byte
	for _, c := range commands {
		if len(c) > 0 {
			frames = append(frames, encodeFrame(c)...)
		}
	}
	_, err := j.file.WriteAt(frames, j.size)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		// An incomplete frame would make all frames after it unreadable.
		j.broken = j.file.Truncate(j.size)
		return err
	}
	j.size += int64(len(frames))
	return nil
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}

// replayJournal sends the commands of a journal to rdb. It skips an incomplete frame at the end,
// which a crash left. If complete frames follow an unreadable one, the file is damaged, and
// replayJournal fails.
func replayJournal(path string, rdb *redis.Client, log *zap.Logger) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for len(b) > 0 {
		command, rest, ok := decodeFrame(b)
		if !ok {
			break
		}
		if err := replayCommand(rdb, command); err != nil {
			return err
		}
		b = rest
	}
	for i := range b {
		if _, _, ok := decodeFrame(b[i:]); ok {
			return &transfer.Error{
				Op: "read " + path, Code: transfer.CodeFailed,
				Err:  fmt.Errorf("it is damaged, %s before its end", transfer.Count(len(b), "byte")),
				Hint: "check the disk; move the queue's folder away to begin with an empty queue",
			}
		}
	}
	if len(b) > 0 {
		log.Warn("journal ends with an incomplete command, which was not acknowledged", zap.Int("bytes", len(b)))
	}
	return nil
}

func replayCommand(rdb *redis.Client, command []string) error {
	words := make([]any, len(command))
	for i, w := range command {
		words[i] = w
	}
	err := rdb.Do(context.Background(), words...).Err()
	var answered redis.Error
	if errors.As(err, &answered) {
		return nil // the first execution had the same answer
	}
	return err
}

// rewriteJournal replaces the journal by one of the given commands. If it returns no journal, the
// old file is unchanged.
func rewriteJournal(path string, commands [][]string) (*journal, error) {
	var size int64
	f, err := fsx.CreateFile(path, 0o600, true, func(file io.Writer) error {
		w := bufio.NewWriter(file)
		for _, c := range commands {
			n, _ := w.Write(encodeFrame(c)) // Flush returns the first error
			size += int64(n)
		}
		return w.Flush()
	})
	if f == nil {
		return nil, err
	}
	// After an error, a crash may leave either of the two files, so no more frames can be
	// acknowledged.
	return &journal{file: f, size: size, base: size, broken: err}, nil
}

// dialOnce returns a dialer for the single connection to a server without a listener.
func dialOnce(conn net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return conn, nil }
}
