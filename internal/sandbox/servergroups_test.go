package sandbox

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

func TestEachServerGroupCommandResponds(t *testing.T) {
	for _, section := range []string{"servergroups", "servergroupss"} {
		t.Run(section, func(t *testing.T) { testServerGroups(t, "/"+section+"/") })
	}
}

func testServerGroups(t *testing.T, section string) {
	r := newRig(t)
	r.run(strings.NewReplacer("$S/", section), []step{
		{"GET $S/list", "", 200, ""},
		{"POST $S/create", "", 400, "errors:name "},
		{"POST $S/create", "description x", 400, "description x\nerrors:name "},
		{"POST $S/create", "name x\ndescription a\x01b", 400, "errors:description "},
		{"GET $S/create", "name x", 405, ""},
		{"GET $S/list", "", 200, ""},
	})
	web, db := r.createGroup("web"), r.createGroup("db")
	first, second, third := r.createServer(""), r.createServer(""), r.createServer("")
	names := strings.NewReplacer("$S/", section, "$WEB", web, "$DB", db, "$ANY", anyID,
		"$FIRST", first, "$SECOND", second, "$THIRD", third)
	r.run(names, []step{
		{"GET $S/list", "", 200, "$WEB\n$DB\n"},
		{"GET $S/$WEB/info", "", 200, "uuid $WEB\nname web\n"},
		{"GET $S/$ANY/info", "", 404, "$ANY could not be found"},
		{"POST $S/set", "name x", 404, ""},
		{"POST $S/$WEB/set", "name web 2\ndescription a: b", 200, "uuid $WEB\nname web 2\ndescription a: b\n"},
		{"POST $S/$WEB/set", "name web 3", 200, "uuid $WEB\nname web 3\ndescription a: b\n"},
		{"POST $S/$WEB/set", "description x", 400, "errors:name "},
		{"POST $S/$WEB/set", "name x\ndescription \x01", 400, "errors:description "},
		{"GET $S/$WEB/info", "", 200, "uuid $WEB\nname web 3\ndescription a: b\n"},
		{"POST $S/$WEB/set", "name web\ndescription ", 200, "uuid $WEB\nname web\n"},

		{"GET $S/$WEB/start", "", 200, ""},
		{"POST $S/$WEB/add", "server:0 $SECOND\nserver:1 $FIRST", 200, "$SECOND\n$FIRST\n"},
		{"POST $S/$WEB/add", "server:0 $FIRST\nserver:1 $THIRD", 200, "$SECOND\n$FIRST\n$THIRD\n"},
		{"POST $S/$WEB/add", "server:0 $ANY", 404, "errors:server:0 Server $ANY could not be found"},
		{"POST $S/$WEB/add", "server:0 $FIRST\nserver:1 x", 404, "errors:server:1 "},
		{"POST $S/$WEB/add", "", 400, "errors:server:0 "},
		{"POST $S/$ANY/add", "server:0 $FIRST", 404, "$ANY could not be found"},
		{"GET $S/$WEB/add", "server:0 $FIRST", 405, ""},
		{"POST $S/$DB/remove", "server:0 $FIRST", 200, ""},
		{"POST $S/$WEB/remove", "server:0 $ANY", 404, "errors:server:0 "},
		{"POST $S/$WEB/remove", "server:0 $FIRST", 200, "$SECOND\n$THIRD\n"},

		{"GET $S/$WEB/start", "", 200, "$SECOND\n$THIRD\n"},
		{"POST $S/$WEB/start", "junk", 200, "$SECOND\n$THIRD\n"}, // they run already
	})
	checkStatuses(t, r, map[string]string{first: "stopped", second: "active", third: "active"})
	r.run(names, []step{
		{"GET $S/$WEB/stop", "", 200, "$SECOND\n$THIRD\n"},
		{"GET $S/$ANY/stop", "", 404, "$ANY could not be found"},
		{"POST /servers/$SECOND/destroy", "", 204, ""},
		{"GET $S/$WEB/start", "", 200, "$THIRD\n"},
	})
	checkStatuses(t, r, map[string]string{first: "stopped", third: "active"})
	r.run(names, []step{
		{"POST $S/$WEB/destroy", "", 204, ""},
		{"GET $S/$WEB/info", "", 404, "$WEB could not be found"},
		{"GET $S/$WEB/destroy", "", 404, "$WEB could not be found"},
		{"GET $S/$DB/destroy", "", 204, ""},
		{"GET $S/list", "", 200, ""},
	})
	checkStatuses(t, r, map[string]string{first: "stopped", third: "active"})
}

func checkStatuses(t *testing.T, r *rig, want map[string]string) {
	t.Helper()
	for id, status := range want {
		if got := value(r.server(id), "status"); got != status {
			t.Errorf("server %s: got status %q, want %q", id, got, status)
		}
	}
}

// TestClientsShareOneGroup changes a group and its members at the same time: each response is one
// that some order of the commands gives.
func TestClientsShareOneGroup(t *testing.T) {
	r := newRig(t)
	group := "/servergroups/" + r.createGroup("x")
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			server := r.createServer("")
			input := []byte("server:0 " + server)
			contains(t, r.want(200, "POST", group+"/add", input).body, server+"\n")
			contains(t, r.want(200, "GET", group+"/start", nil).body, server+"\n")
			r.post(group+"/set", "name y\ndescription z")
			r.get(group + "/info")
			r.want(200, "POST", group+"/stop", nil)
			for r.do("POST", "/servers/"+server+"/destroy", nil).status == 409 { // another client has started it
				r.want(204, "POST", "/servers/"+server+"/stop", nil)
			}
			if got := r.want(200, "GET", group+"/stop", nil).body; bytes.Contains(got, []byte(server)) {
				t.Errorf("got the members %q, want them without %s", got, server)
			}
		})
	}
	clients.Wait()
	if got := r.get(group + "/stop").body; len(got) != 0 {
		t.Errorf("got the members %q, want none", got)
	}
}

// TestGroupStartsAllOrNone: two members need the same drive.
func TestGroupStartsAllOrNone(t *testing.T) {
	r := newRig(t)
	device := "ide:0:0 " + r.create(4096) + "\n"
	first, second, group := r.createServer(device), r.createServer(device), r.createGroup("x")
	r.want(200, "POST", "/servergroups/"+group+"/add", []byte("server:0 "+first+"\nserver:1 "+second))
	contains(t, r.want(409, "GET", "/servergroups/"+group+"/start", nil).body, "currently in use")
	checkStatuses(t, r, map[string]string{first: "stopped", second: "stopped"})
}
