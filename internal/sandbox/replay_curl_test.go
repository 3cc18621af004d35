package sandbox

import (
	"slices"
	"strings"
	"testing"
)

// curl is the head of a request by curl 7.88, in the order in which it sends the fields: those of
// the command line come after its own. An empty contentType is a request without a body.
func curl(method, path, contentType string, fields ...string) string {
	lines := []string{
		method + " " + path + " HTTP/1.1", "Host: $HOST", "Authorization: Basic $AUTH",
		"User-Agent: curl/7.88.1", "Accept: */*",
	}
	switch contentType {
	case "":
	case "application/x-www-form-urlencoded": // its default, after the length
		lines = append(append(lines, fields...), "Content-Length: $LENGTH", "Content-Type: "+contentType)
	default:
		lines = append(append(append(lines, "Content-Type: "+contentType), fields...), "Content-Length: $LENGTH")
	}
	return headOf(lines...)
}

const (
	plainText = "text/plain"
	octets    = "application/octet-stream"
	form      = "application/x-www-form-urlencoded"
	exclusive = "claim:type exclusive\nencryption:cipher aes-xts-plain\n"
)

// TestReplayUpload replays the upload script of ElasticHosts, which curl carries out: a drive of the
// file's size, and chunks that are gzip streams. The user's copy with a doubled slash, and with
// claim:type, follows.
func TestReplayUpload(t *testing.T) {
	r := newReplayer(t)
	first, second := noise(4<<20, 1), noise(1000, 2)
	r.run(false, []replay{
		{
			head: curl("POST", "/drives/create", plainText), body: "name disk.img\nsize 4195304\ntier disk",
			status: ok200, want: replayedDrive("disk.img", "4195304", exclusive), save: "DRIVE=drive",
		},
		{
			head: curl("POST", "/drives/$DRIVE/write/0", octets, "Content-Encoding: gzip"), body: string(gzipped(t, first)),
			status: noContent04,
		},
		{
			head: curl("POST", "/drives/$DRIVE/write/4194304", octets, "Content-Encoding: gzip"),
			body: string(gzipped(t, second)), status: noContent04,
		},
		{ // resumed with -o
			head: curl("POST", "/drives/$DRIVE/write/4194304", octets, "Content-Encoding: gzip"),
			body: string(gzipped(t, second)), status: noContent04,
		},
		{ // a file that has grown
			head: curl("POST", "/drives/$DRIVE/write/4194305", octets, "Content-Encoding: gzip"),
			body: string(gzipped(t, second)), status: bad400, want: "errors:system *\n",
		},
	})
	equal(t, r.read(r.values["$DRIVE"], 0, 4195304), slices.Concat(first, second))
	r.run(false, []replay{
		{
			head: curl("POST", "//drives/create", plainText), body: "name disk.img\nsize 10\nclaim:type shared",
			status: ok200, save: "DRIVE=drive",
			want: replayedDrive("disk.img", "10", "claim:type shared\nencryption:cipher aes-xts-plain\n"),
		},
		{
			head: curl("POST", "/drives/create", plainText), body: "name disk.img\nsize \ntier disk",
			status: bad400, want: "name disk.img\nsize \ntier disk\nerrors:size *\n",
		},
	})
}

// TestReplayDownload replays the download script of ElasticHosts: the size from info, then chunks,
// of which it shortens the last.
func TestReplayDownload(t *testing.T) {
	r := newReplayer(t)
	id := r.create(4<<20 + 5)
	r.values["$DRIVE"] = id
	data := strings.Repeat("drive", 1<<20)[:4<<20+5]
	r.write(id, 0, []byte(data))
	r.run(false, []replay{
		{head: curl("GET", "/drives/$DRIVE/info", ""), status: ok200, want: replayedDrive("test", "4194309", exclusive)},
		{head: curl("GET", "/drives/$DRIVE/read/0/4194304", ""), status: ok200, want: data[:4<<20]},
		{head: curl("GET", "/drives/$DRIVE/read/4194304/5", ""), status: ok200, want: data[4<<20:]},
		{head: curl("GET", "/drives/"+anyID+"/info", ""), status: notFound404, want: "errors:system *could not be found.\n"},
	})
}

// TestReplayTool replays the curl tool of ElasticHosts, which the vendor's script is by its options:
// arguments are the path, a POST without input has an empty form, -c takes input.
func TestReplayTool(t *testing.T) {
	r := newReplayer(t)
	r.run(false, []replay{
		{head: curl("POST", "/drives/list", form), status: ok200},
		{head: curl("POST", "/drives/info", form), status: ok200},
		{head: curl("POST", "/drives/create", octets), body: "name a b\nsize 8G\navoid x\n", status: ok200,
			want: replayedDrive("a b", "8589934592", exclusive), save: "DRIVE=drive"},
		{head: curl("POST", "/drives/list", form), status: ok200, want: "$DRIVE\n"},
		{head: curl("POST", "/drives/$DRIVE/info", form), status: ok200,
			want: replayedDrive("a b", "8589934592", exclusive)},
		{head: curl("POST", "/drives/$DRIVE/set", octets), body: "name c\nsize 4M\ntags x:y\n", status: ok200,
			want: replayedDrive("c", "4194304", "claim:type exclusive\ntags x:y\nencryption:cipher aes-xts-plain\n")},
		{head: curl("GET", "/drives/$DRIVE/set", ""), status: "HTTP/1.1 405 Method Not Allowed", want: "errors:system *\n"},
		{head: curl("POST", "/drives/$DRIVE/read/0/4", form), status: ok200, want: "\x00\x00\x00\x00"},
		{head: curl("POST", "/drives/$DRIVE/destroy", form), status: noContent04},
		{head: curl("POST", "/drives/$DRIVE/destroy", form), status: notFound404, want: "errors:system *\n"},
		{head: curl("POST", "/resources/vlan/create", octets), body: "name lan\n", status: ok200,
			want: "resource $VLAN\ntype vlan\nuser $USER\nname lan\n", save: "VLAN=resource"},
		{head: curl("POST", "/resources/vlan/list", form), status: ok200, want: "vlan $VLAN\n"},
		{head: curl("POST", "/resources/ip/create", form), status: ok200, save: "IP=resource",
			want: "resource $IP\ntype ip\nuser $USER\nnetmask *\ngateway *\nnameserver *\n"},
		{head: curl("POST", "/resources/$IP/destroy", form), status: noContent04}, // as in the manual
		{head: curl("POST", "/resources/vlan/$VLAN/destroy", form), status: noContent04},
		{head: curl("POST", "/resources/info", form), status: ok200},
	})
}

// TestReplayBackup replays the backup script of a hoster: each request has a body and a field that
// the service must ignore, and grep looks for words in the responses.
func TestReplayBackup(t *testing.T) {
	r := newReplayer(t)
	r.values["$SOURCE"] = r.create(4096)
	junk := func(path, body string) replay {
		return replay{head: curl("POST", "/"+path, "header"), body: body, status: ok200}
	}
	info := junk("drives/$SOURCE/info", "drives/$SOURCE/info\n")
	info.want = strings.Replace(replayedDrive("test", "4096", exclusive), "$DRIVE", "$SOURCE", 1)
	create := junk("drives/create", "name backup\nsize 4096\n")
	create.want, create.save = replayedDrive("backup", "4096", exclusive), "DRIVE=drive"
	destroy := junk("drives/$DRIVE/destroy", "drives/$DRIVE/destroy\n")
	destroy.status = noContent04
	r.run(false, []replay{info, create, destroy})
}

// TestReplayExpect replays curl with a body of more than 1 MiB, which it sends after 100 Continue,
// and a user's script whose Expect field has a URL. net/http refuses that one before this package
// gets the request.
func TestReplayExpect(t *testing.T) {
	r := newReplayer(t)
	r.values["$DRIVE"] = r.create(2 << 20)
	data := noise(2<<20, 1)
	head := curl("POST", "/drives/$DRIVE/write", octets)
	head = strings.TrimSuffix(head, "\r\n") + "Expect: 100-continue\r\n\r\n"
	r.run(false, []replay{
		{head: head, body: string(data), status: noContent04},
		{head: curl("POST", "/drives/$DRIVE/info", form, "Expect: https://api.example.com/"),
			status: "HTTP/1.1 417 Expectation Failed"},
	})
	equal(t, r.read(r.values["$DRIVE"], 0, 2<<20), data)
}

// TestReplayChunked replays curl -X POST -H 'Expect:' -T -, which sends chunks: a write does not support them.
func TestReplayChunked(t *testing.T) {
	r := newReplayer(t)
	r.values["$DRIVE"] = r.create(4096)
	r.run(false, []replay{{
		head: headOf("POST /drives/$DRIVE/write HTTP/1.1", "Host: $HOST", "Authorization: Basic $AUTH",
			"User-Agent: curl/7.88.1", "Accept: */*", "Transfer-Encoding: chunked"),
		body: "3\r\nabc\r\n0\r\n\r\n", status: bad400, want: "errors:system *\n",
	}})
}
