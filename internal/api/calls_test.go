package api

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	someDrive  = "drive " + uuid + "\nname x\nsize 1024\nstatus active\ntags a b\n"
	someServer = "server " + uuid + "\nname x\ncpu 1000\nmem 512\nstatus stopped\n"
	someVLAN   = "resource " + uuid + "\ntype vlan\nname x\n"
	someIP     = "resource 203.0.113.7\ntype ip\nnetmask 255.255.255.0\n"
	someGroup  = "uuid " + uuid + "\nname x\n"
	someOrder  = "subscription " + uuid + "\ntype cpu\nquantity 1\nend_time 2026-02-01 00:00\n"
	somePrice  = "amount 1.50\ncurrency EUR\n"
)

// responses are what an endpoint responds to calls, by the beginning of their paths. The first that
// matches counts. Without a text the response is 204.
var responses = []struct{ path, text string }{
	{"/profile/", "uuid " + uuid + "\nemail x@y\n"},
	{"/drives/list", uuid}, {"/drives/" + uuid + "/destroy", ""}, {"/drives/standard/list", uuid},
	{"/drives/standard/cd/list", uuid}, {"/drives/standard/img/list", uuid}, {"/drives/", someDrive},
	{"/servers/list", uuid}, {"/servers/" + uuid + "/destroy", ""}, {"/servers/" + uuid + "/stop", ""},
	{"/servers/" + uuid + "/shutdown", ""}, {"/servers/" + uuid + "/reset", ""}, {"/servers/start", uuid},
	{"/servers/stop", uuid}, {"/servers/destroy", uuid}, {"/servers/", someServer},
	{"/resources/list", "vlan " + uuid + "\nip 203.0.113.6\n"}, {"/resources/info", someVLAN + "\n" + someIP},
	{"/resources/vlan/list", "vlan " + uuid + "\n"}, {"/resources/vlan/" + uuid + "/destroy", ""},
	{"/resources/vlan/", someVLAN}, {"/resources/ip/list", "ip 203.0.113.6\n"},
	{"/resources/ip/203.0.113.7/destroy", ""}, {"/resources/ip/", someIP},
	{"/servergroups/list", uuid}, {"/servergroups/create", someGroup}, {"/servergroups/" + uuid + "/info", someGroup},
	{"/servergroups/" + uuid + "/set", someGroup}, {"/servergroups/" + uuid + "/destroy", ""},
	{"/servergroups/" + uuid, uuid},
	{"/currencies/list", "EUR\nUSD\n"}, {"/transactions/list", "date 2026-01-01 00:00\ntotal 1.20\n"},
	{"/usage/", "cpu 1000\n"}, {"/pricing/", "ip 5\n"}, {"/balance/", "balance 1\n"},
	{"/subscriptions/list", someOrder}, {"/subscriptions/resources/info", "cpu 1000\n"},
	{"/subscriptions/net/info", ""},
	{"/subscriptions/" + uuid + "/set/calculate", somePrice}, {"/subscriptions/network/ip/calculate", somePrice},
	{"/subscriptions/network/vlan/calculate", somePrice}, {"/subscriptions/software/calculate", somePrice},
	{"/subscriptions/", someOrder},
}

// respond responds like an endpoint.
func respond(w http.ResponseWriter, r *http.Request) {
	for _, a := range responses {
		if !strings.HasPrefix(r.URL.Path, a.path) {
			continue
		}
		if a.text == "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write([]byte(a.text))
		return
	}
	http.NotFound(w, r)
}

// sent is a call and the request that it must send.
type sent struct {
	method, path, body string
	call               func(c *Client, ctx context.Context) error
}

func returning[T any](call func(c *Client, ctx context.Context) (T, error)) func(*Client, context.Context) error {
	return func(c *Client, ctx context.Context) error {
		_, err := call(c, ctx)
		return err
	}
}

// onOne is a call for the object uuid.
func onOne[T any](call func(*Client, context.Context, string) (T, error)) func(*Client, context.Context) error {
	return func(c *Client, ctx context.Context) error {
		_, err := call(c, ctx, uuid)
		return err
	}
}

func doing(call func(*Client, context.Context, string) error) func(*Client, context.Context) error {
	return func(c *Client, ctx context.Context) error { return call(c, ctx, uuid) }
}

// making is the first Do of a Creation, which lists before it sends.
func making[T any](make func(c *Client) *Creation[T]) func(*Client, context.Context) error {
	return func(c *Client, ctx context.Context) error {
		_, err := make(c).Do(ctx)
		return err
	}
}

func onServers(call func(*Client, context.Context, ...string) ([]string, error)) func(*Client, context.Context) error {
	return func(c *Client, ctx context.Context) error {
		_, err := call(c, ctx, uuidA, uuid)
		return err
	}
}

// TestEachCallSendsWhatTheManualSays compares the request of each call with the manual.
func TestEachCallSendsWhatTheManualSays(t *testing.T) {
	for name, section := range map[string][]sent{
		"profile": profileCalls, "drives": driveCalls, "standard drives": standardCalls, "servers": serverCalls,
		"resources": resourceCalls, "server groups": groupCalls, "billing": billingCalls, "any": anyCalls,
	} {
		t.Run(name, func(t *testing.T) {
			var got calls
			c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
				got.record(r)
				respond(w, r)
			})
			for _, want := range section {
				got.clear()
				if err := want.call(c, t.Context()); err != nil {
					t.Errorf("%s %s: got %v, want success", want.method, want.path, err)
				}
				checkSent(t, got.list, want)
			}
		})
	}
}

// checkSent checks the last of the requests. Before it there may be a read: of what exists before a
// Creation, and of the profile.
func checkSent(t *testing.T, got []call, want sent) {
	t.Helper()
	if len(got) == 0 || len(got) > 2 || len(got) == 2 && got[0].method != "GET" {
		t.Errorf("%s %s: got %d requests, want one, or a read and one", want.method, want.path, len(got))
		return
	}
	last := got[len(got)-1]
	if last.method != want.method || last.path != want.path || last.body != want.body || len(last.encoding) > 0 {
		t.Errorf("got %s %s %q, want %s %s %q", last.method, last.path, last.body, want.method, want.path, want.body)
	}
	if want.method == "POST" && last.length != int64(len(want.body)) {
		t.Errorf("%s: got Content-Length %d, want %d", want.path, last.length, len(want.body))
	}
}

var profileCalls = []sent{
	{"GET", "/profile/info", "", returning((*Client).Profile)},
	{"POST", "/profile/set", "email x@y\nfirst_name Ada\nvat \n", returning(
		func(c *Client, ctx context.Context) (Profile, error) {
			return c.SetProfile(ctx, Object{"first_name": "Ada", "vat": ""})
		})},
}

var driveCalls = []sent{
	{"GET", "/drives/list", "", returning((*Client).ListDrives)},
	{"GET", "/drives/info", "", returning((*Client).Drives)},
	{"GET", "/drives/" + uuid + "/info", "", onOne((*Client).Drive)},
	{"POST", "/drives/create", "name x\nreaders r1 r2\nsize 1024\ntags a b\n", returning(
		func(c *Client, ctx context.Context) (DriveInfo, error) {
			return c.CreateDrive(ctx, CreateOptions{
				Name: "x", Size: 1024, Tags: []string{"a", "b"}, Readers: []string{"r1", "r2"},
			})
		})},
	{"POST", "/drives/" + uuid + "/clone", "name y\n", returning(
		func(c *Client, ctx context.Context) (DriveInfo, error) {
			return c.CloneDrive(ctx, uuid, CloneOptions{Name: "y"})
		})},
	{"POST", "/drives/" + uuid + "/set", "name z\n", returning(func(c *Client, ctx context.Context) (DriveInfo, error) {
		return c.SetDrive(ctx, uuid, Object{"name": "z"})
	})},
	{"POST", "/drives/" + uuid + "/destroy", "", doing((*Client).DestroyDrive)},
}

var standardCalls = []sent{
	{"GET", "/drives/standard/list", "", returning((*Client).ListStandard)},
	{"GET", "/drives/standard/cd/list", "", returning((*Client).ListStandardCDs)},
	{"GET", "/drives/standard/img/list", "", returning((*Client).ListStandardImages)},
	{"GET", "/drives/standard/info", "", returning((*Client).StandardDrives)},
	{"GET", "/drives/standard/cd/info", "", returning((*Client).StandardCDs)},
	{"GET", "/drives/standard/img/info", "", returning((*Client).StandardImages)},
	{"GET", "/drives/standard/cd/" + uuid + "/info", "", onOne((*Client).StandardCD)},
	{"GET", "/drives/standard/img/" + uuid + "/info", "", onOne((*Client).StandardImage)},
}

// fullServer has every option of a new server.
var fullServer = ServerOptions{
	Name: "web 1", CPU: 2000, SMP: 2, Mem: 1024, Boot: []string{"ide:0:0", "ide:0:1"}, Persistent: true,
	Devices: []Device{{Name: "ide:0:0", Drive: uuidA}, {Name: "ide:0:1", Drive: uuid, Media: "cdrom"}},
	NICs: []NIC{
		{Model: "virtio", DHCP: "auto", Block: []string{"tcp/25"}},
		{Index: 1, VLAN: uuid, MAC: "22:bd:c4:6d:25:90"},
	},
	VNC: VNC{"auto", "s3cret", true}, Keys: Object{"use": "web"},
}

const fullServerKeys = "boot ide:0:0 ide:0:1\ncpu 2000\nide:0:0 " + uuidA + "\nide:0:1 " + uuid +
	"\nide:0:1:media cdrom\nmem 1024\nname web 1\nnic:0:block tcp/25\nnic:0:dhcp auto\nnic:0:model virtio\n" +
	"nic:1:mac 22:bd:c4:6d:25:90\nnic:1:vlan " + uuid +
	"\npersistent true\nsmp 2\nstatus stopped\nuse web\nvnc:ip auto\nvnc:password s3cret\nvnc:tls on\n"

const twoServers = "server:0 " + uuidA + "\nserver:1 " + uuid + "\n"

var serverCalls = []sent{
	{"GET", "/servers/list", "", returning((*Client).ListServers)},
	{"GET", "/servers/info", "", returning((*Client).Servers)},
	{"GET", "/servers/" + uuid + "/info", "", onOne((*Client).Server)},
	{"POST", "/servers/create", fullServerKeys, making(func(c *Client) *Creation[Server] {
		return c.CreateServer(fullServer)
	})},
	{"POST", "/servers/create", "cpu 500\nmem 256\nname x\nsmp auto\nstatus active\n", making(
		func(c *Client) *Creation[Server] {
			return c.CreateServer(ServerOptions{Name: "x", CPU: 500, Mem: 256, Start: true})
		})},
	{"POST", "/servers/create/stopped", "cpu 500\nmem 256\nname x\nsmp auto\nstatus stopped\n", making(
		func(c *Client) *Creation[Server] {
			return c.CreateStoppedServer(ServerOptions{Name: "x", CPU: 500, Mem: 256, Start: true})
		})},
	{"POST", "/servers/" + uuid + "/clone", "name y\n", making(func(c *Client) *Creation[Server] {
		return c.CloneServer(uuid, "y")
	})},
	{"POST", "/servers/" + uuid + "/set", "ide:0:1 \nname z\n", returning(
		func(c *Client, ctx context.Context) (Server, error) {
			return c.SetServer(ctx, uuid, Object{"name": "z", "ide:0:1": ""})
		})},
	{"POST", "/servers/" + uuid + "/destroy", "", doing((*Client).DestroyServer)},
	{"POST", "/servers/" + uuid + "/start", "", onOne((*Client).StartServer)},
	{"POST", "/servers/" + uuid + "/stop", "", doing((*Client).StopServer)},
	{"POST", "/servers/" + uuid + "/shutdown", "", doing((*Client).ShutDownServer)},
	{"POST", "/servers/" + uuid + "/reset", "", doing((*Client).ResetServer)},
	{"POST", "/servers/start", twoServers, onServers((*Client).StartServers)},
	{"POST", "/servers/stop", twoServers, onServers((*Client).StopServers)},
	{"POST", "/servers/destroy", twoServers, onServers((*Client).DestroyServers)},
}

var resourceCalls = []sent{
	{"GET", "/resources/info", "", returning((*Client).Resources)},
	{"GET", "/resources/list", "", returning((*Client).ListResources)},
	{"GET", "/resources/vlan/list", "", returning((*Client).ListVLANs)},
	{"GET", "/resources/vlan/info", "", returning((*Client).VLANs)},
	{"GET", "/resources/vlan/" + uuid + "/info", "", onOne((*Client).VLAN)},
	{"POST", "/resources/vlan/create", "name lan\n", making(func(c *Client) *Creation[VLAN] {
		return c.CreateVLAN("lan")
	})},
	{"POST", "/resources/vlan/" + uuid + "/set", "name lan\n", returning(
		func(c *Client, ctx context.Context) (VLAN, error) { return c.RenameVLAN(ctx, uuid, "lan") })},
	{"POST", "/resources/vlan/" + uuid + "/destroy", "", doing((*Client).DestroyVLAN)},
	{"GET", "/resources/ip/list", "", returning((*Client).ListIPs)},
	{"GET", "/resources/ip/info", "", returning((*Client).IPs)},
	{"GET", "/resources/ip/203.0.113.7/info", "", returning(func(c *Client, ctx context.Context) (IP, error) {
		return c.IP(ctx, "203.0.113.7")
	})},
	{"POST", "/resources/ip/create", "", making((*Client).CreateIP)},
	{"POST", "/resources/ip/203.0.113.7/destroy", "", func(c *Client, ctx context.Context) error {
		return c.DestroyIP(ctx, "203.0.113.7")
	}},
}

var groupCalls = []sent{
	{"GET", "/servergroups/list", "", returning((*Client).ListServerGroups)},
	{"GET", "/servergroups/" + uuid + "/info", "", onOne((*Client).ServerGroup)},
	{"POST", "/servergroups/create", "name web\n", making(func(c *Client) *Creation[ServerGroup] {
		return c.CreateServerGroup("web")
	})},
	{"POST", "/servergroups/" + uuid + "/set", "description all of them\nname web\n", returning(
		func(c *Client, ctx context.Context) (ServerGroup, error) {
			return c.SetServerGroup(ctx, uuid, "web", "all of them")
		})},
	{"POST", "/servergroups/" + uuid + "/destroy", "", doing((*Client).DestroyServerGroup)},
	{"POST", "/servergroups/" + uuid + "/add", twoServers, returning(
		func(c *Client, ctx context.Context) ([]string, error) {
			return c.AddToServerGroup(ctx, uuid, uuidA, uuid)
		})},
	{"POST", "/servergroups/" + uuid + "/remove", twoServers, returning(
		func(c *Client, ctx context.Context) ([]string, error) {
			return c.RemoveFromServerGroup(ctx, uuid, uuidA, uuid)
		})},
	{"GET", "/servergroups/" + uuid + "/start", "", onOne((*Client).StartServerGroup)},
	{"GET", "/servergroups/" + uuid + "/stop", "", onOne((*Client).StopServerGroup)},
}

var term = Term{Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), Months: 3}

const (
	termKeys  = "start_time 2026-01-02 02:04:05\n"
	ipKeys    = "months 3\nquantity 2\n" + termKeys
	msftKeys  = "months 3\nmsft_p73_04837 1\n" + termKeys
	orderKeys = "cpu 2000\ndisk 100\nmonths 3\n" + termKeys
)

var licenses = map[string]int{"msft_p73_04837": 1}

var billingCalls = []sent{
	{"GET", "/currencies/list", "", returning((*Client).Currencies)},
	{"GET", "/usage/info", "", returning((*Client).Usage)},
	{"GET", "/pricing/info", "", returning((*Client).Pricing)},
	{"GET", "/transactions/list", "", returning((*Client).Transactions)},
	{"GET", "/balance/info", "", returning((*Client).Balance)},
	{"GET", "/subscriptions/list", "", returning((*Client).Subscriptions)},
	{"GET", "/subscriptions/resources/info", "", returning((*Client).SubscribedResources)},
	{"GET", "/subscriptions/net/info", "", returning((*Client).SubscribedNetwork)},
	{"POST", "/subscriptions/resources/create", orderKeys, making(func(c *Client) *Creation[[]Subscription] {
		return c.SubscribeResources(ResourceAmounts{CPU: 2000, Disk: 100}, term)
	})},
	{"POST", "/subscriptions/network/ip/create", ipKeys, making(func(c *Client) *Creation[[]Subscription] {
		return c.SubscribeIPs(2, term)
	})},
	{"POST", "/subscriptions/network/vlan/create", ipKeys, making(func(c *Client) *Creation[[]Subscription] {
		return c.SubscribeVLANs(2, term)
	})},
	{"POST", "/subscriptions/software/create", msftKeys, making(func(c *Client) *Creation[[]Subscription] {
		return c.SubscribeSoftware(licenses, term)
	})},
	{"POST", "/subscriptions/network/ip/calculate", ipKeys, returning(
		func(c *Client, ctx context.Context) (Money, error) { return c.QuoteIPs(ctx, 2, term) })},
	{"POST", "/subscriptions/network/vlan/calculate", ipKeys, returning(
		func(c *Client, ctx context.Context) (Money, error) { return c.QuoteVLANs(ctx, 2, term) })},
	{"POST", "/subscriptions/software/calculate", msftKeys, returning(
		func(c *Client, ctx context.Context) (Money, error) { return c.QuoteSoftware(ctx, licenses, term) })},
	{"POST", "/subscriptions/" + uuid + "/set", "months 3\n", making(func(c *Client) *Creation[Subscription] {
		return c.ExtendSubscription(uuid, 3)
	})},
	{"POST", "/subscriptions/" + uuid + "/set/calculate", "months 3\n", returning(
		func(c *Client, ctx context.Context) (Money, error) { return c.QuoteExtension(ctx, uuid, 3) })},
}

func anyCall(path string, input []byte) func(*Client, context.Context) error {
	return func(c *Client, ctx context.Context) error {
		_, err := c.Call(ctx, path, input)
		return err
	}
}

var anyCalls = []sent{
	{"GET", "/drives/a b/../x", "", anyCall("drives/a b/../x", nil)},
	{"POST", "/servers/create", "name x\n", anyCall("servers/create", []byte("name x\n"))},
	{"POST", "/servers/1/stop", "", anyCall("/servers/1/stop/", nil)},
}
