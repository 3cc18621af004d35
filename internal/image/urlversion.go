package image

import (
	"fmt"
	"net/http"
	"strings"
)

// version identifies the image that a server sends, by the headers of its responses.
type version struct {
	size     int64  // bytes; -1: not stated
	etag     string // the strong ETag; empty: none
	modified string // Last-Modified; empty: not stated
}

// version is the version of the whole image, also if the response contains a part of it. A weak
// ETag does not count: it does not promise the same bytes (RFC 9110, 8.8.3).
func (resp *response) version() version {
	v := version{size: resp.length, modified: resp.header.Get("Last-Modified")}
	if resp.status == http.StatusPartialContent {
		_, _, total, ok := resp.contentRange()
		if v.size = total; !ok {
			v.size = -1
		}
	}
	if tag := resp.header.Get("ETag"); strings.HasPrefix(tag, `"`) {
		v.etag = tag
	}
	return v
}

// validator is the value for If-Range; empty: the server identifies no version.
func (v version) validator() string {
	if v.etag != "" {
		return v.etag
	}
	return v.modified
}

// same reports whether v and o have the same bytes, by the headers. A response with an ETag may
// omit Last-Modified (RFC 9110, 15.3.7).
func (v version) same(o version) bool {
	if v.etag != "" && o.etag != "" {
		return v.size == o.size && v.etag == o.etag
	}
	return v.size == o.size && v.modified != "" && v.modified == o.modified
}

// differs reports whether v and o have different bytes, by the headers.
func (v version) differs(o version) bool {
	if v.size >= 0 && o.size >= 0 && v.size != o.size || v.etag != "" && o.etag != "" && v.etag != o.etag {
		return true
	}
	return v.modified != "" && o.modified != "" && v.modified != o.modified
}

// resembles reports whether all headers but the ETags agree. Each server of a cluster may make its
// own ETags, so only the bytes show whether it is the same image.
func (v version) resembles(o version) bool {
	return v.size >= 0 && v.size == o.size && v.modified != "" && v.modified == o.modified
}

// String is the identity of an image that is read by offset, and the text in messages.
func (v version) String() string {
	s := fmt.Sprintf("size=%d version=%s", v.size, v.validator())
	if v.etag != "" && v.modified != "" {
		s += " modified=" + v.modified
	}
	return s
}

// resemblesIdentity is resembles for an identity from String, in this attempt or an earlier one.
func (v version) resemblesIdentity(identity string) bool {
	_, modified, ok := strings.Cut(identity, " modified=")
	return ok && v.modified == modified && strings.HasPrefix(identity, fmt.Sprintf("size=%d version=", v.size))
}
