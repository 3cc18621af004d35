package sandbox

import "testing"

// jclouds is the head of a request by jclouds 1.5, which Java's HttpURLConnection sends. An empty
// body is none: start and stop have no length then, either.
func jclouds(method, path string, hasBody bool) string {
	lines := []string{method + " " + path + " HTTP/1.1", "Accept: text/plain", "Authorization: Basic $AUTH"}
	if hasBody {
		lines = append(lines, "Content-Type: text/plain")
	}
	lines = append(lines, "User-Agent: jclouds/1.5.10 java/1.6.0_45", "Host: $HOST", "Connection: keep-alive")
	if hasBody {
		lines = append(lines, "Content-Length: $LENGTH")
	}
	return headOf(lines...)
}

// TestJcloudsDrivesAreServed replays the drives of its tests. Pairs have no last line end.
func TestJcloudsDrivesAreServed(t *testing.T) {
	r := newReplayer(t)
	images, cds := r.standard("img/"), r.standard("cd/")
	r.values["$IMAGES"], r.values["$CDS"] = lines(images), lines(cds)
	r.values["$IMAGE"] = images[0]
	r.run(true, []replay{
		{head: jclouds("GET", "/profile/info", false), status: ok200, want: "uuid $USER\nemail *\n**type regular\n**"},
		{head: jclouds("GET", "/drives/standard/list", false), status: ok200, want: "$IMAGES$CDS"},
		{head: jclouds("GET", "/drives/standard/cd/list", false), status: ok200, want: "$CDS"},
		{head: jclouds("GET", "/drives/standard/img/list", false), status: ok200, want: "$IMAGES"},
		{head: jclouds("GET", "/drives/info", false), status: ok200},
		{head: jclouds("GET", "/drives/list", false), status: ok200},
		{head: jclouds("POST", "/drives/create", true), body: "name foo\nsize 10000\nuse production candy",
			status: ok200, save: "DRIVE=drive",
			want: replayedDrive("foo", "10000",
				"claim:type exclusive\nuse production candy\nencryption:cipher aes-xts-plain\n")},
		{head: jclouds("POST", "/drives/$DRIVE/set", true),
			body: "name Ubuntu 10.10 Server Edition Linux 64bit Preinstalled System\nsize 8589934592\n" +
				"claim:type shared\ntags foo bar baz\nreaders ffffffff-ffff-ffff-ffff-ffffffffffff\nuse tag1 tag2",
			status: ok200,
			want: replayedDrive("Ubuntu 10.10 Server Edition Linux 64bit Preinstalled System", "8589934592",
				"claim:type shared\nreaders ffffffff-ffff-ffff-ffff-ffffffffffff\ntags foo bar baz\nuse tag1 tag2\n"+
					"encryption:cipher aes-xts-plain\n")},
		{head: jclouds("GET", "/drives/list", false), status: ok200, want: "$DRIVE\n"},
		{head: jclouds("GET", "/drives/$DRIVE/destroy", false), status: noContent04},
		{head: jclouds("GET", "/drives/$DRIVE/info", false), status: notFound404, want: missing},
		{head: jclouds("GET", "/drives/uuid/info", false), status: notFound404, want: refused},
		{head: jclouds("POST", "/drives/$DRIVE/clone", true), body: "name newname",
			status: bad400, want: missing},
		{head: jclouds("POST", "/drives/$IMAGE/clone", true), body: "name newname\nsize 1024",
			status: bad400, want: "name newname\nsize 1024\nerrors:size *\n"},
		{head: jclouds("POST", "/drives/$IMAGE/clone", true),
			body:   "name newname\nsize 8388608\ntags cat:mouse monkey:banana",
			status: ok200, save: "DRIVE=drive",
			want: "drive $DRIVE\nname newname\nsize 8388608\n**tags cat:mouse monkey:banana\n**os linux\n**"},
	})
	r.awaitImaged(r.values["$DRIVE"])
	r.run(true, []replay{{
		head: jclouds("GET", "/drives/$DRIVE/info", false), status: ok200,
		want: "drive $DRIVE\nname newname\nsize 8388608\nstatus active\nuser $USER\ntype disk\n" +
			"claim:type exclusive\n**",
	}})
}

// lines is a list of values, one a line.
func lines(values []string) (text string) {
	for _, v := range values {
		text += v + "\n"
	}
	return text
}

// TestJcloudsResourcesAreServed replays the VLANs and static addresses of its tests.
func TestJcloudsResourcesAreServed(t *testing.T) {
	r := newReplayer(t)
	const (
		vlan = "resource $VLAN\ntype vlan\nuser $USER\nname "
		ip   = "type ip\nuser $USER\nnetmask 255.255.255.0\ngateway 203.0.113.1\nnameserver 203.0.113.1 198.51.100.1\n"
	)
	r.run(true, []replay{
		{head: jclouds("GET", "/resources/vlan/list", false), status: ok200},
		{head: jclouds("GET", "/resources/vlan/info", false), status: ok200},
		{head: jclouds("POST", "/resources/vlan/create", true), body: "name poohbear\n",
			status: ok200, want: vlan + "poohbear\n", save: "VLAN=resource"},
		{head: jclouds("GET", "/resources/vlan/$VLAN/info", false), status: ok200, want: vlan + "poohbear\n"},
		{head: jclouds("POST", "/resources/vlan/$VLAN/set", true), body: "name poohbear2\n",
			status: ok200, want: vlan + "poohbear2\n"},
		{head: jclouds("GET", "/resources/vlan/list", false), status: ok200, want: "vlan $VLAN\n"},
		{head: jclouds("GET", "/resources/vlan/info", false), status: ok200, want: vlan + "poohbear2\n"},
		{head: jclouds("GET", "/resources/vlan/$VLAN/destroy", false), status: noContent04},
		{head: jclouds("GET", "/resources/vlan/$VLAN/info", false), status: notFound404, want: missing},
		{head: jclouds("GET", "/resources/vlan/$VLAN/destroy", false), status: notFound404, want: missing},
		{head: jclouds("GET", "/resources/vlan/uuid/destroy", false), status: notFound404, want: refused},

		{head: jclouds("GET", "/resources/ip/list", false), status: ok200},
		{head: jclouds("GET", "/resources/ip/info", false), status: ok200},
		{head: jclouds("POST", "/resources/ip/create", false), status: ok200,
			want: "resource 203.0.113.2\n" + ip, save: "FIRST=resource"},
		{head: jclouds("POST", "/resources/ip/create", false), status: ok200,
			want: "resource 203.0.113.3\n" + ip, save: "SECOND=resource"},
		{head: jclouds("GET", "/resources/ip/list", false), status: ok200, want: "ip $FIRST\nip $SECOND\n"},
		{head: jclouds("GET", "/resources/ip/info", false), status: ok200,
			want: "resource $FIRST\n" + ip + "\nresource $SECOND\n" + ip},
		{head: jclouds("GET", "/resources/ip/$FIRST/info", false), status: ok200, want: "resource $FIRST\n" + ip},
		{head: jclouds("GET", "/resources/ip/$FIRST/destroy", false), status: noContent04},
		{head: jclouds("GET", "/resources/ip/$FIRST/info", false), status: notFound404, want: missing},
		{head: jclouds("GET", "/resources/ip/uuid/info", false), status: notFound404, want: refused},
	})
}

// TestJcloudsServersAreServed replays the life of a server in its live test. start, stop and the
// like are POST without a length.
func TestJcloudsServersAreServed(t *testing.T) {
	r := newReplayer(t)
	r.values["$DRIVE"] = r.create(4096)
	command := func(name, status, want string) replay {
		return replay{head: jclouds("POST", "/servers/$SERVER/"+name, false), status: status, want: want}
	}
	info := func(status, want string) replay {
		return replay{head: jclouds("GET", "/servers/$SERVER/info", false), status: status, want: want}
	}
	const (
		begin = "server $SERVER\nuser $USER\nstatus "
		rest  = "\ncpu 2000\nsmp auto\nmem 1024\npersistent true\nboot ide:0:0\nide:0:0 $DRIVE\nide:0:0:media disk\n" +
			"nic:0:model e1000\n"
		input   = "name TestServer" + rest + "nic:0:dhcp auto\nvnc:ip auto\nvnc:password s3cretpw"
		changed = "name ridiculous" + rest + "nic:0:dhcp auto\nvnc:ip auto\nvnc:password s3cretpw"
		stopped = begin + "stopped\n" + input + "\n**tx *\n**"
		active  = begin + "active\nname TestServer" + rest + "nic:0:dhcp 198.51.100.*\nvnc:ip 198.51.100.*\n" +
			"vnc:password s3cretpw\n**started *\n**"
	)
	r.run(true, []replay{
		{head: jclouds("GET", "/servers/list", false), status: ok200},
		{head: jclouds("GET", "/servers/info", false), status: ok200},
		{head: jclouds("POST", "/servers/create", true), body: input,
			status: ok200, want: stopped, save: "SERVER=server"},
		command("start", ok200, active),
		info(ok200, active),
		{head: jclouds("GET", "/drives/$DRIVE/info", false), status: ok200,
			want: "drive $DRIVE\n**claimed *:guest:$SERVER:ide:0:0\n**"},
		command("stop", noContent04, ""),
		info(ok200, stopped),
		command("start", ok200, active),
		command("reset", noContent04, ""),
		command("shutdown", noContent04, ""),
		info(ok200, begin+"*\n**"),
		command("stop", noContent04, ""),
		{head: jclouds("POST", "/servers/$SERVER/set", true), body: changed + "\nuse networking security gateway",
			status: ok200, want: begin + "stopped\n" + changed + "\n**"},
		{head: jclouds("GET", "/servers/list", false), status: ok200, want: "$SERVER\n"},
		{head: jclouds("GET", "/servers/$SERVER/destroy", false), status: noContent04},
		info(notFound404, missing),
		{head: jclouds("GET", "/drives/$DRIVE/destroy", false), status: noContent04},
		{head: jclouds("GET", "/servers/uuid/info", false), status: notFound404, want: refused},
	})
}

// TestJcloudsStaticIPIsServed replays its live test of servers with static addresses.
func TestJcloudsStaticIPIsServed(t *testing.T) {
	r := newReplayer(t)
	r.values["$FIRST"], r.values["$SECOND"], r.values["$DRIVE"] = r.createAddress(), r.createAddress(), r.create(4096)
	const keys = "name test\ncpu 1000\nsmp 1\nmem 512\npersistent true\nboot ide:0:0\nide:0:0 $DRIVE\n" +
		"ide:0:0:media disk\nnic:0:model e1000\nnic:0:dhcp "
	claimed := func(ip, want string) replay {
		head := jclouds("GET", "/resources/ip/"+ip+"/info", false)
		return replay{head: head, status: ok200, want: "resource " + ip + want}
	}
	r.run(true, []replay{
		{head: jclouds("POST", "/servers/create", true), body: keys + "$FIRST\nvnc:ip auto\nvnc:password Il0veVNC",
			status: ok200, want: "server $SERVER\n**nic:0:dhcp $FIRST\n**", save: "SERVER=server"},
		claimed("$FIRST", "\n**claimed $SERVER\n"),
		{head: jclouds("POST", "/servers/$SERVER/stop", false), status: noContent04},
		{head: jclouds("POST", "/servers/$SERVER/set", true),
			body:   keys + "$SECOND\nvnc:ip auto\nvnc:password Il0veVNC",
			status: ok200, want: "server $SERVER\n**nic:0:dhcp $SECOND\n**"},
		claimed("$FIRST", "\n**nameserver *\n"),
		{head: jclouds("GET", "/resources/ip/$SECOND/destroy", false), status: conflict409,
			want: inUse},
		{head: jclouds("GET", "/servers/$SERVER/destroy", false), status: noContent04},
		{head: jclouds("GET", "/drives/$DRIVE/destroy", false), status: noContent04},
		{head: jclouds("GET", "/resources/ip/$FIRST/destroy", false), status: noContent04},
		{head: jclouds("GET", "/resources/ip/$SECOND/destroy", false), status: noContent04},
	})
}
