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

// journal is a file of commands, each in a frame: the length of what follows the two numbers and its CRC-32C, 4 bytes
// each, little-endian; then each word of the command after its length, 4 bytes. The last frame need not be whole: a crash
// may have left it so, before it was acknowledged.
type journal struct {
	file   *os.File
	size   int64 // bytes; what follows is no acknowledged frame
	begun  int64 // its size after it was last rewritten
	broken error // why nothing can be appended
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

// decodeFrame reads the command at the beginning of b; rest is what follows it. ok is false if there is no whole frame.
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

// append writes commands, empty ones left out, and returns when they are on disk. After an error none of them is there.
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
		// Half a frame in the middle would make all frames after it unreadable.
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

// replayJournal carries out the commands of a journal. What a crash left of the last one is skipped; but if there are
// whole commands behind what cannot be read, something else has changed the file, and it fails rather than lose them.
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
				Op: "read " + path, Code: transfer.CodeFailed, Err: fmt.Errorf("it is damaged, %d bytes before its end", len(b)),
				Hint: "check the disk; move the queue's folder away to begin with an empty queue",
			}
		}
	}
	if len(b) > 0 {
		log.Warn("the queue's journal ends within a command that was not acknowledged", zap.Int("bytes", len(b)))
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
		return nil // it answered the same when it was given the first time
	}
	return err
}

// rewriteJournal replaces the journal by one of the given commands. After an error the old one is still there.
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
	// With an error either journal may be there after a crash, so nothing more can be acknowledged.
	return &journal{file: f, size: size, begun: size, broken: err}, nil
}

// dialOnce hands out the one connection that there is to a server without a listener.
func dialOnce(conn net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return conn, nil }
}
