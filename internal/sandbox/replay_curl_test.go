package sandbox

import (
	"encoding/base64"
	"slices"
	"strconv"
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

// TestUploadScriptIsServed replays the upload script of ElasticHosts, which curl carries out: a
// drive of the file's size, and chunks that are gzip streams. It logs in with the account's UUID.
// The user's copy with a doubled slash, and with claim:type, follows.
func TestUploadScriptIsServed(t *testing.T) {
	r := newReplayer(t)
	r.values["$AUTH"] = base64.StdEncoding.EncodeToString([]byte(r.s.account + ":" + testPassword))
	first, second := noise(4<<20, 1), noise(1000, 2)
	r.run(false, []replay{
		{
			head: curl("POST", "/drives/create", plainText), body: "name disk.img\nsize 4195304\ntier disk",
			status: ok200, want: replayedDrive("disk.img", "4195304", exclusive), save: "DRIVE=drive",
		},
		{
			head:   curl("POST", "/drives/$DRIVE/write/0", octets, "Content-Encoding: gzip"),
			body:   string(gzipped(t, first)),
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
			body: string(gzipped(t, second)), status: bad400, want: refused,
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

// TestDownloadScriptIsServed replays the download script of ElasticHosts: the size from info, then
// chunks, of which it shortens the last.
func TestDownloadScriptIsServed(t *testing.T) {
	r := newReplayer(t)
	id := r.create(4<<20 + 5)
	r.values["$DRIVE"] = id
	data := strings.Repeat("drive", 1<<20)[:4<<20+5]
	r.write(id, 0, []byte(data))
	r.run(false, []replay{
		{head: curl("GET", "/drives/$DRIVE/info", ""),
			status: ok200, want: replayedDrive("test", "4194309", exclusive)},
		{head: curl("GET", "/drives/$DRIVE/read/0/4194304", ""), status: ok200, want: data[:4<<20]},
		{head: curl("GET", "/drives/$DRIVE/read/4194304/5", ""), status: ok200, want: data[4<<20:]},
		{head: strings.Replace(curl("GET", "/drives/$DRIVE/info", ""), "$AUTH", "eDp5", 1), // x:y
			status: "HTTP/1.1 401 Unauthorized", want: refused},
		{head: curl("GET", "/drives/"+anyID+"/info", ""), status: notFound404, want: missing},
	})
}

// TestCurlToolIsServed replays the curl tool of ElasticHosts, which the vendor's script is by its
// options: arguments are the path, a POST without input has an empty form, -c takes input.
func TestCurlToolIsServed(t *testing.T) {
	r := newReplayer(t)
	r.run(false, []replay{
		{head: curl("POST", "/drives/list", form), status: ok200},
		{head: curl("POST", "/drives/info", form), status: ok200},
		{head: curl("POST", "/profile/info", form), status: ok200, want: "uuid $USER\nemail *\n**"},
		{head: curl("POST", "/drives/create", octets), body: "name a b\nsize 8G\navoid x\n", status: ok200,
			want: replayedDrive("a b", "8589934592", exclusive), save: "DRIVE=drive"},
		{head: curl("POST", "/drives/list", form), status: ok200, want: "$DRIVE\n"},
		{head: curl("POST", "/drives/$DRIVE/info", form), status: ok200,
			want: replayedDrive("a b", "8589934592", exclusive)},
		{ // -j
			head:   strings.Replace(curl("POST", "/drives/list", form), "*/*", "application/json", 1),
			status: ok200, want: "$DRIVE\n",
		},
		{head: curl("POST", "/drives/$DRIVE/set", octets), body: "name c\nsize 4M\ntags x:y\n", status: ok200,
			want: replayedDrive("c", "4194304", "claim:type exclusive\ntags x:y\nencryption:cipher aes-xts-plain\n")},
		{head: curl("GET", "/drives/$DRIVE/set", ""), status: "HTTP/1.1 405 Method Not Allowed", want: refused},
		{head: curl("POST", "/drives/$DRIVE/read/0/4", form), status: ok200, want: "\x00\x00\x00\x00"},
		{head: curl("POST", "/drives/$DRIVE/destroy", form), status: noContent04},
		{head: curl("POST", "/drives/$DRIVE/destroy", form), status: notFound404, want: refused},
		{head: curl("POST", "/servers/create/stopped", octets),
			body: "name s\ncpu 500\nmem 256\nsmp auto\nvnc:ip auto\n" +
				"vnc:password abcdefgh\nnic:0:model e1000\nnic:0:dhcp auto\n", status: ok200,
			want: "server $SERVER\nuser $USER\nstatus stopped\nname s\n**", save: "SERVER=server"},
		{head: curl("POST", "/guests/list", form), status: ok200, want: "$SERVER\n"},
		{head: curl("POST", "/guests/$SERVER/start", form), status: ok200,
			want: "server $SERVER\nuser $USER\nstatus active\n**"},
		{head: curl("POST", "/servers/$SERVER/destroy", form), status: conflict409, want: refused},
		{head: curl("POST", "/servers/$SERVER/reset", form), status: noContent04},
		{head: curl("POST", "/servers/stop", octets), body: "server:0 $SERVER\n", status: ok200, want: "$SERVER\n"},
		{head: curl("POST", "/servergroups/create", octets), body: "name g\n", status: ok200,
			want: "uuid $GROUP\nname g\n", save: "GROUP=uuid"},
		{head: curl("POST", "/servergroups/$GROUP/add", octets), body: "server:0 $SERVER\n",
			status: ok200, want: "$SERVER\n"},
		{head: curl("POST", "/servergroups/$GROUP/start", form), status: ok200, want: "$SERVER\n"},
		{head: curl("POST", "/servergroups/$GROUP/stop", form), status: ok200, want: "$SERVER\n"},
		{head: curl("POST", "/guest/destroy", octets), body: "server:0 $SERVER\n", status: ok200, want: "$SERVER\n"},
		{head: curl("POST", "/servergroups/$GROUP/destroy", form), status: noContent04},
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

// TestBackupScriptIsServed replays the backup script of a hoster. Its requests have a Content-Type
// that is none; those without input have their path as the body, without the line end, which curl
// strips. grep looks for words in the responses.
func TestBackupScriptIsServed(t *testing.T) {
	r := newReplayer(t)
	r.values["$SOURCE"], r.values["$LIBRARY"] = r.create(4096), r.standard("img/")[0]
	get := func(path, want string) replay {
		lines := []string{
			"GET /" + path + " HTTP/1.1", "Host: $HOST", "Authorization: Basic $AUTH", "User-Agent: curl/7.88.1",
			"Accept: */*", "Content-Type: header",
		}
		return replay{head: headOf(lines...), status: ok200, want: want}
	}
	post := func(path, status, want string) replay {
		return replay{head: curl("POST", "/"+path, "header"), body: path, status: status, want: want}
	}
	r.values["$OLD"] = r.createServer("ide:0:0 " + r.values["$SOURCE"] + "\n")
	r.run(false, []replay{
		get("servers/list", "$OLD\n"),
		get("servers/$OLD/info", "server $OLD\n**\nname test\n**\nide:0:0 $SOURCE\n**"),
		get("drives/$SOURCE/info", strings.Replace(replayedDrive("test", "4096", exclusive), "$DRIVE", "$SOURCE", 1)),
		{head: curl("POST", "/drives/create", octets), body: "name web_ohibackup_2012010101\nsize 4096\n",
			status: ok200, want: replayedDrive("web_ohibackup_2012010101", "4096", exclusive), save: "DRIVE=drive"},
		post("drives/$DRIVE/image/$LIBRARY/gunzip", notFound404, refused), // of the parent API only
		get("drives/$DRIVE/info", replayedDrive("web_ohibackup_2012010101", "4096", exclusive)),
		{head: curl("POST", "/servers/create", octets),
			body: "name copy\ncpu 500\nmem 256\nide:0:0 $DRIVE\nboot ide:0:0\npersistent true\nvnc auto\n" +
				"password abcdefgh\nnic:0:dhcp auto\nnic:0:model e1000\nsmp auto\n",
			status: ok200, want: "server $SERVER\n**\nnic:0:dhcp auto\n**", save: "SERVER=server"},
		post("servers/$SERVER/shutdown", noContent04, ""),
		post("servers/$SERVER/destroy", noContent04, ""),
		post("drives/$DRIVE/destroy", noContent04, ""),
		{head: curl("POST", "/drives/$SOURCE/destroy", "header"), body: "drives/$SOURCE/destroy\n",
			status: noContent04},
	})
}

// TestRubyUploadIsServed replays a user's script in Ruby, whose library is libcurl, too: it uploads
// one gzip stream to a drive as it is, and shrinks the drive to it.
func TestRubyUploadIsServed(t *testing.T) {
	r := newReplayer(t)
	patron := func(method, path string, fields ...string) string {
		lines := []string{method + " /" + path + " HTTP/1.1", "Host: $HOST", "Authorization: Basic $AUTH",
			"User-Agent: Patron/Ruby-0.4.18-libcurl/7.21.0"}
		lines = append(lines, fields...)
		if method == "POST" {
			lines = append(lines, "Content-Length: $LENGTH")
		}
		return headOf(lines...)
	}
	text := []string{"accept: */*", "connection: close", "content-type: text/plain"}
	zipped := gzipped(t, noise(1500<<10, 1))
	first, second := zipped[:1<<20], zipped[1<<20:]
	length := strconv.Itoa(len(zipped))
	r.run(false, []replay{
		{head: patron("POST", "drives/create", text...), body: "name x_zip\nsize 2000000\nclaim:type exclusive",
			status: ok200, want: replayedDrive("x_zip", "2000000", exclusive), save: "DRIVE=drive"},
		{head: patron("POST", "drives/$DRIVE/write/0", "content-type: application/octet-stream"), body: string(first),
			status: noContent04},
		{head: patron("POST", "drives/$DRIVE/write/1048576", "content-type: application/octet-stream"),
			body:   string(second),
			status: noContent04},
		{head: patron("POST", "drives/$DRIVE/set", text...), body: "size " + length,
			status: ok200, want: replayedDrive("x_zip", length, exclusive)},
		{head: patron("GET", "drives/$DRIVE/info"), status: ok200, want: replayedDrive("x_zip", length, exclusive)},
	})
	equal(t, r.read(r.values["$DRIVE"], 0, int64(len(zipped))), zipped)
}

// TestExpectOfCurlIsServed replays curl with a body of more than 1 MiB, which it sends after 100
// Continue, and a user's script whose Expect field has a URL. net/http refuses that one before this
// package gets the request.
func TestExpectOfCurlIsServed(t *testing.T) {
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

// TestChunkedUploadIsRefused replays curl -X POST -H 'Expect:' -T -, which sends chunks: a write
// does not support them.
func TestChunkedUploadIsRefused(t *testing.T) {
	r := newReplayer(t)
	r.values["$DRIVE"] = r.create(4096)
	r.run(false, []replay{{
		head: headOf("POST /drives/$DRIVE/write HTTP/1.1", "Host: $HOST", "Authorization: Basic $AUTH",
			"User-Agent: curl/7.88.1", "Accept: */*", "Transfer-Encoding: chunked"),
		body: "3\r\nabc\r\n0\r\n\r\n", status: bad400, want: refused,
	}})
}
