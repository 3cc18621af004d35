package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // of OVF 1.0; it finds damage
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	digestsEnding = ".mf"
	maxDigests    = 1 << 20 // of the size of a manifest, bytes
)

// listedDigest is the digest of a file of an archive, by the manifest in that archive.
type listedDigest struct {
	manifest string // its name
	want     string // in hexadecimal, lower case
	sum      hash.Hash
}

// digestLine is a line of a manifest (OVF specification, DSP0243, 5.1).
var digestLine = regexp.MustCompile(`^(SHA1|SHA256|SHA512) ?\((.+)\) ?= ?([0-9a-fA-F]+)\s*$`)

// digestHashes are the hashes of manifests by their names.
var digestHashes = map[string]func() hash.Hash{"SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}

// addDigests reads the manifest of that name and size.
func (a *archive) addDigests(name string, size int64) error {
	if size > maxDigests {
		return nil
	}
	text, err := io.ReadAll(a.tar)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if m := digestLine.FindStringSubmatch(lines.Text()); m != nil {
			if a.digests == nil {
				a.digests = map[string]*listedDigest{}
			}
			file := path.Join(path.Dir(name), m[2])
			a.digests[file] = &listedDigest{name, strings.ToLower(m[3]), digestHashes[m[1]]()}
		}
	}
	return nil
}

// digestOf is the digest of a file that the manifests read so far list; nil: none.
func (a *archive) digestOf(m *member) *listedDigest { return a.digests[path.Clean(m.name)] }

// check compares what sum was given with the manifest.
func (d *listedDigest) check(name string) error {
	if got := hex.EncodeToString(d.sum.Sum(nil)); got != d.want {
		return transfer.Errorf(transfer.CodeInvalid, "the archive is damaged or was changed: get it again",
			"the digest of %q is %s, and %q in the archive lists %s", name, got, d.manifest, d.want)
	}
	return nil
}

// checkDigest compares all of a part with its listed digest.
func (p *part) checkDigest(ctx context.Context, d *listedDigest) error {
	read, buf := readerOf(p.bytes), make([]byte, 1<<20)
	for {
		n, err := read(ctx, buf)
		d.sum.Write(buf[:n])
		switch {
		case errors.Is(err, io.EOF):
			return withOperation("open "+p.name(), d.check(p.label))
		case err != nil:
			return err
		}
	}
}

// unchecked is the warning about a digest that was not compared.
func (d *listedDigest) unchecked(name string) string {
	return fmt.Sprintf("the digest of %q in %q of the archive was not compared: that needs an archive in a file, and "+
		"no --size", name, d.manifest)
}
