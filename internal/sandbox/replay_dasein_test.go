package sandbox

import "testing"

// dasein is the head of a request by dasein-cloud-cloudsigma before 2013, which Apache HttpClient 4
// sends with an empty User-Agent. GET has a Content-Type, too.
func dasein(method, path string) string {
	lines := []string{
		method + " " + path + " HTTP/1.1", "Host: $HOST", "Content-Type: text/plain; charset=UTF-8",
		"Authorization: Basic $AUTH",
	}
	if method == "POST" {
		lines = append(lines, "Content-Length: $LENGTH")
	}
	return headOf(append(lines, "Connection: Keep-Alive", "User-Agent: ")...)
}

// TestDaseinIsServed replays what it sends for an account, volumes, images, a server in a VLAN, and
// addresses. Each request has a connection of its own.
func TestDaseinIsServed(t *testing.T) {
	r := newReplayer(t)
	r.values["$IMAGE"] = r.standard("img/")[0]
	const (
		begin = "server $SERVER\nuser $USER\nstatus "
	)
	server := func(method, command, body, status, want string) replay {
		return replay{head: dasein(method, "/servers/$SERVER/"+command), body: body, status: status, want: want}
	}
	r.run(false, []replay{
		// the account
		{head: dasein("GET", "/profile/info"), status: ok200, want: "uuid $USER\n**"},
		{head: dasein("GET", "/servers/---no+such+id---/info"), status: notFound404, want: refused},

		// volumes
		{head: dasein("POST", "/drives/create"), body: "name größer\nsize 10485760\nclaim:type exclusive\n",
			status: ok200, want: replayedDrive("größer", "10485760", exclusive), save: "DRIVE=drive"},
		{head: dasein("GET", "/drives/info"), status: ok200, want: replayedDrive("größer", "10485760", exclusive)},
		{head: dasein("GET", "/drives/$DRIVE/info"),
			status: ok200, want: replayedDrive("größer", "10485760", exclusive)},
		{head: dasein("GET", "/drives/---no+such+id---/info"), status: notFound404, want: refused},

		// images
		{head: dasein("GET", "/drives/standard/img/info"), status: ok200, want: "drive $IMAGE\n**"},
		{head: dasein("GET", "/drives/standard/img/$IMAGE/info"), status: ok200, want: "drive $IMAGE\n**type disk\n**"},
		{head: dasein("GET", "/drives/standard/img/$DRIVE/info"), status: notFound404, want: refused},
		{head: dasein("POST", "/drives/$IMAGE/clone"), body: "name boot\nsize 4194304\n", status: ok200,
			want: "drive $BOOT\nname boot\n**", save: "BOOT=drive"},
	})
	r.awaitImaged(r.values["$BOOT"])
	r.run(false, []replay{
		// a VLAN and an address
		{head: dasein("POST", "/resources/vlan/create"), body: "name lan\n", status: ok200,
			want: "resource $VLAN\ntype vlan\nuser $USER\nname lan\n", save: "VLAN=resource"},
		{head: dasein("POST", "/resources/ip/create"), status: ok200,
			want: "resource $IP\ntype ip\nuser $USER\n**", save: "IP=resource"},
		{head: dasein("GET", "/resources/vlan/info"), status: ok200,
			want: "resource $VLAN\ntype vlan\nuser $USER\nname lan\n"},

		// a server
		{head: dasein("POST", "/servers/create"),
			body:   "name web\nide:0:0 $BOOT\nboot ide:0:0\ncpu 1000\nmem 512\nsmp 1\nnic:1:vlan $VLAN\n",
			status: ok200, want: begin + "stopped\nname web\n**nic:1:vlan $VLAN\n**", save: "SERVER=server"},
		server("GET", "start", "", ok200, begin+"active\n**"),
		{head: dasein("GET", "/servers/info"), status: ok200, want: begin + "active\n**"},
		{head: dasein("POST", "/resources/vlan/$VLAN/destroy"), status: conflict409, want: inUse},
		server("GET", "shutdown", "", noContent04, ""),
		server("GET", "stop", "", noContent04, ""),
		server("POST", "set", "block:0 $DRIVE\n", ok200, begin+"stopped\n**block:0 $DRIVE\n**"),
		server("POST", "set", "block:0 \n", ok200, begin+"stopped\n**"),
		server("POST", "set", "nic:0:dhcp $IP\n", ok200, begin+"stopped\n**nic:0:dhcp $IP\n**"),
		{head: dasein("GET", "/resources/ip/$IP/info"), status: ok200, want: "resource $IP\n**claimed $SERVER\n"},
		server("POST", "set", "nic:0:dhcp \n", ok200, begin+"stopped\n**"),
		{head: dasein("GET", "/resources/ip/info"), status: ok200, want: "resource $IP\n**nameserver *\n"},
		server("GET", "destroy", "", noContent04, ""),
		server("GET", "info", "", notFound404, missing),

		// the end
		{head: dasein("GET", "/resources/ip/$IP/destroy"), status: noContent04},
		{head: dasein("POST", "/resources/vlan/$VLAN/destroy"), status: noContent04},
		{head: dasein("POST", "/drives/$DRIVE/destroy"), status: noContent04},
		{head: dasein("POST", "/drives/$BOOT/destroy"), status: noContent04},
		{head: dasein("GET", "/drives/info"), status: ok200},
	})
}
