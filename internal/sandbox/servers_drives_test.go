package sandbox

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDriveOfARunningServer: each command on a drive that a running server holds, by what kind of
// drive it is.
func TestDriveOfARunningServer(t *testing.T) {
	for keys, cloned := range map[string]int{"claim:type exclusive": 409, "claim:type shared": 200} {
		t.Run(keys, func(t *testing.T) {
			r := newRig(t)
			id := value(r.post("/drives/create", "name test\nsize 4096\n"+keys), "drive")
			data := noise(4096, 1)
			r.write(id, 0, data)
			server := r.createServer("block:3 " + id + "\n")
			if o := r.info(id); value(o, "claimed") != "" {
				t.Errorf("got %v, want no claim of a stopped server", o)
			}
			r.post("/servers/"+server+"/start", "")
			want := r.s.host + ":guest:" + server + ":block:3"
			if got := value(r.info(id), "claimed"); got != want {
				t.Errorf("got claimed %q, want %q", got, want)
			}
			for _, c := range []struct {
				command, input string
				status         int
			}{
				{"info", "", 200},
				{"read/0/4096", "", 200},
				{"write", "x", 409},
				{"write/4095", "x", 409},
				{"set", "name renamed\ntags a b\nuse c\nreaders " + anyID + "\nuser:a b", 200},
				{"set", "size 4096", 200},
				{"set", "size 8192", 409},
				{"set", "name x\nsize 1", 409},
				{"set", keys, 200},
				{"set", "claim:type " + map[int]string{409: claimShared, 200: claimExclusive}[cloned], 409},
				{"destroy", "", 400},
				{"clone", "name copy", cloned},
			} {
				a := r.want(c.status, "POST", "/drives/"+id+"/"+c.command, []byte(c.input))
				if c.status >= 400 {
					contains(t, a.body, "errors:system Drive "+id+" is currently in use")
				}
			}
			if o := r.info(id); value(o, "name") != "renamed" || value(o, "size") != "4096" {
				t.Errorf("got %v, want it renamed, and no other size", o)
			}
			equal(t, r.read(id, 0, 4096), data)
			r.want(204, "POST", "/servers/"+server+"/stop", nil)
			if cloned == 200 {
				all := strings.Fields(string(r.get("/drives/list").body))
				r.awaitImaged(all[1])
				equal(t, r.read(all[1], 0, 4096), data)
			}
			r.write(id, 0, []byte("x"))
			r.post("/drives/"+id+"/set", "size 1")
			r.want(204, "POST", "/drives/"+id+"/destroy", nil)
			contains(t, r.want(400, "POST", "/servers/"+server+"/start", nil).body,
				"errors:block:3 Drive "+id+" could not be found.")
		})
	}
}

// TestDrivesOfSeveralServers: which drives several running servers can hold.
func TestDrivesOfSeveralServers(t *testing.T) {
	r := newRig(t)
	cd := r.standard("cd/")[0]
	own := value(r.post("/drives/"+cd+"/clone", "name my CD"), "drive")
	r.awaitImaged(own)
	shared := value(r.post("/drives/create", "name x\nsize 1\nclaim:type shared"), "drive")
	for drive, want := range map[string]int{cd: 200, own: 200, shared: 200, r.create(1): 409} {
		a := r.createServer("ide:0:0 " + drive + "\nide:0:0:media cdrom\n")
		b := r.createServer("ide:1:1 " + drive + "\n") // both name it while they are stopped
		r.post("/servers/"+a+"/start", "")
		res := r.want(want, "POST", "/servers/"+b+"/start", nil)
		claims := []string{r.s.host + ":guest:" + a + ":ide:0:0"}
		if want == 200 {
			claims = append(claims, r.s.host+":guest:"+b+":ide:1:1")
		} else {
			contains(t, res.body, "Drive "+drive+" is currently in use")
		}
		if got := value(r.info(drive), "claimed"); got != strings.Join(claims, " ") {
			t.Errorf("got claimed %q, want %q", got, claims)
		}
		r.want(204, "POST", "/servers/"+a+"/stop", nil)
		r.post("/servers/"+b+"/start", "")
		if got := value(r.info(drive), "claimed"); got != r.s.host+":guest:"+b+":ide:1:1" {
			t.Errorf("got claimed %q, want that of %s alone", got, b)
		}
	}
}

func TestServerNeedsItsDrivesToStart(t *testing.T) {
	r, gate := newGatedRig(t)
	src := r.create(4096)
	dst := value(r.post("/drives/"+src+"/clone", "name x"), "drive")
	gate.awaitReached(t)
	free := r.create(4096)
	for _, drive := range []string{src, dst} { // the source is being cloned, the other imaged
		id := r.createServer("ide:0:0 " + free + "\nide:0:1 " + drive + "\n")
		contains(t, r.want(409, "POST", "/servers/"+id+"/start", nil).body, "Drive "+drive+" is currently in use")
		if o := r.info(free); value(o, "claimed") != "" {
			t.Errorf("got %v, want no claim of a server that did not start", o)
		}
		in := minimal + "status active\nide:0:0 " + free + "\nide:0:1 " + drive
		r.want(409, "POST", "/servers/create", []byte(in))
	}
	if got := strings.Fields(string(r.get("/servers/list").body)); len(got) != 2 {
		t.Errorf("got the servers %v, want two: one that cannot start is not created", got)
	}
	gate.pass <- struct{}{}
	r.awaitImaged(dst)
	ids := strings.Fields(string(r.get("/servers/list").body))
	other := r.createServer("ide:0:0 " + src + "\n")
	in := []byte("server:0 " + ids[0] + "\nserver:1 " + other)
	contains(t, r.want(409, "POST", "/servers/start", in).body, "Drive "+src+" is currently in use")
	if o := r.server(ids[0]); value(o, "status") != serverStopped { // all or none
		t.Errorf("got %v, want it stopped", o)
	}
	r.post("/servers/"+other+"/start", "")
}

func TestServerWithAnInactiveDriveDoesNotStart(t *testing.T) {
	r := newRig(t)
	src := r.create(4096)
	r.write(src, 0, []byte("x"))
	if err := os.Remove(r.s.drives.dataPath(src)); err != nil {
		t.Fatal(err)
	}
	dst := value(r.post("/drives/"+src+"/clone", "name x"), "drive")
	r.awaitImaged(dst)
	id := r.createServer("ide:0:0 " + dst + "\n")
	contains(t, r.want(400, "POST", "/servers/"+id+"/start", nil).body, "Drive "+dst+" is inactive")
}

// written are the bytes written to drives since the sandbox started, as info shows them.
func (v *virtual) written(drives ...string) (n []string) {
	v.Helper()
	for _, id := range drives {
		n = append(n, value(v.drive(id), "write:bytes"))
	}
	return n
}

func (v *virtual) content(drive string) []byte {
	v.Helper()
	d, _ := v.s.drives.find(drive)
	p, err := os.ReadFile(d.path)
	if err != nil {
		v.Fatal(err)
	}
	return p
}

// TestGuestWritesWhileItsServerRuns: at boot, at the rate, and once more at shutdown.
func TestGuestWritesWhileItsServerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t)
		cfg.GuestWrites = 1 << 20
		v := newVirtual(t, cfg)
		defer func() { v.close() }()
		id, drive := v.started()
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := v.written(drive); got[0] != want {
				t.Errorf("drive: got %s bytes written, want %s", got[0], want)
			}
			if got := value(v.server(id), "ide:0:0:write:bytes"); got != want {
				t.Errorf("server: got %s bytes written, want %s", got, want)
			}
		}
		expect("4096") // at boot
		last := v.content(drive)
		for range 3 {
			time.Sleep(guestTick)
			synctest.Wait()
			now := v.content(drive)
			if slices.Equal(now, last) {
				t.Error("got a drive that does not change, want one that does")
			}
			last = now
		}
		time.Sleep(time.Second - 3*guestTick)
		expect("1052672") // 4096 + 1 MiB
		v.post(204, "/servers/"+id+"/shutdown", "")
		time.Sleep(shutdownTime - time.Millisecond)
		before := v.content(drive)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		after := v.content(drive)
		if slices.Equal(after, before) {
			t.Error("got no write at shutdown, want one")
		}
		total := v.written(drive)[0]
		time.Sleep(time.Hour)
		expect(total)
		if !slices.Equal(v.content(drive), after) {
			t.Error("got a write after the shutdown, want none")
		}
		v.post(200, "/servers/"+id+"/start", "")
		time.Sleep(time.Second)
		v.post(204, "/servers/"+id+"/stop", "")
		after = v.content(drive)
		stopped := value(v.server(id), "ide:0:0:write:bytes")
		if stopped == "0" {
			t.Error("got no bytes written after a second start, want some")
		}
		time.Sleep(time.Hour)
		if !slices.Equal(v.content(drive), after) || value(v.server(id), "ide:0:0:write:bytes") != stopped {
			t.Error("got a write after the stop, want none")
		}
	})
}

// TestGuestWritesAgainAfterARestart: a server that ran when the folder was closed runs on.
func TestGuestWritesAgainAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t)
		cfg.GuestWrites = 10
		v := newVirtual(t, cfg)
		id, drive := v.started()
		v.close()
		closed := v.content(drive)
		time.Sleep(time.Hour)
		if !slices.Equal(v.content(drive), closed) {
			t.Error("got a write after Close, want none")
		}
		v = newVirtual(t, cfg)
		defer v.close()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := v.written(drive)[0]; got != "4196" { // 4096 at boot
			t.Errorf("got %s bytes written in 10 seconds, want 4196", got)
		}
		v.status(id, serverActive)
	})
}

// TestGuestWritesToItsDisksInTurn: to all but CDs, and within drives of any size.
func TestGuestWritesToItsDisksInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t)
		cfg.GuestWrites = 1 << 20
		v := newVirtual(t, cfg)
		defer v.close()
		standard := v.post(200, "/drives/standard/img/list", "")[0].key
		var drives []string
		keys := "block:5 " + standard + "\n"
		for i, size := range []string{"1", "4095", "1M", "10000001", "1M"} {
			drive := value(v.post(200, "/drives/create", "name x\nsize "+size), "drive")
			drives = append(drives, drive)
			keys += "block:" + strconv.Itoa(i) + " " + drive + "\n"
		}
		v.post(200, "/servers/create", minimal+keys+"block:4:media cdrom\nstatus active")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for i, n := range v.written(drives...) {
			if isCD := i == 4; (n == "0") != isCD {
				t.Errorf("drive %d: got %s bytes written", i, n)
			}
			d, _ := v.s.drives.find(drives[i])
			if got := int64(len(v.content(drives[i]))); got != d.attrs.size {
				t.Errorf("drive %d: got %d bytes, want %d", i, got, d.attrs.size)
			}
		}
		if got := v.written(standard)[0]; got != "0" {
			t.Errorf("standard drive: got %s bytes written, want 0", got)
		}
	})
}

func TestGuestWithoutWritesLeavesItsDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, testConfig(t))
		defer v.close()
		id, drive := v.started()
		time.Sleep(time.Hour)
		v.post(204, "/servers/"+id+"/shutdown", "")
		time.Sleep(time.Hour)
		synctest.Wait()
		equal(t, v.content(drive), make([]byte, 1<<20))
	})
}

// TestCloneOfAStandardDriveIsNoClaimOnIt: nothing protects a drive of the library from its clones.
func TestCloneOfAStandardDriveIsNoClaimOnIt(t *testing.T) {
	r, gate := newGatedRig(t)
	cd := r.standard("cd/")[0]
	clone := value(r.post("/drives/"+cd+"/clone", "name x"), "drive")
	gate.awaitReached(t)
	id := r.createServer("ide:0:0 " + cd + "\nstatus active\n")
	if got, want := value(r.info(cd), "claimed"), r.s.host+":guest:"+id+":ide:0:0"; got != want {
		t.Errorf("got claimed %q, want %q", got, want)
	}
	gate.pass <- struct{}{}
	r.awaitImaged(clone)
}

func TestGuestCannotWriteAfterItsClaim(t *testing.T) {
	r := newRig(t)
	drive := r.create(4096)
	v, _ := r.s.servers.find(r.createServer("ide:0:0 " + drive + "\nstatus active\n"))
	g := v.guest
	g.writeEach()
	if n := g.disks[0].writes.bytes.Load(); n != 4096 {
		t.Errorf("got %d bytes written, want 4096", n)
	}
	r.want(204, "POST", "/servers/"+v.id+"/stop", nil)
	r.write(drive, 0, make([]byte, 4096))
	g.writeEach()
	equal(t, r.read(drive, 0, 4096), make([]byte, 4096))
	if n := g.disks[0].writes.bytes.Load(); n != 4096 {
		t.Errorf("got %d bytes written after the stop, want 4096", n)
	}
}

func TestGuestCatchesUpAtMostOneSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, testConfig(t))
		defer v.close()
		id, _ := v.started()
		server, _ := v.s.servers.find(id)
		g := newGuest(server.disks, 10*page)
		g.began = time.Now()
		time.Sleep(time.Hour)
		for range 2 {
			g.writeSome()
			if g.pages != 10 {
				t.Errorf("got %d pages, want 10", g.pages)
			}
		}
	})
}
