package main

// contender is one of the programs that are compared. Bash runs its scripts, with the variables
// IMG, the image; API, NBD and DAV, the servers' addresses; OUT, a file to download to; and TARGET,
// the file of the NBD server.
type contender struct {
	name    string
	kind    string // upload or download
	slow    bool   // takes a minute or more
	prepare string // not measured
	run     string
	check   string // not measured: fails unless the result is equal
	links   bool   // also run over slow links
}

const (
	// drive makes a drive with curl, for contenders that write to it with curl.
	drive = `SIZE=$(stat -c %s "$IMG")
printf 'name x\nsize %s\n' $SIZE | curl -sf -u u:p --data-binary @- http://$API/drives/create |
  sed -n 's/^drive //p' >uuid
echo $(((SIZE + 4194303) / 4194304)) >count
`
	// each is the manual's loop (7.2, 7.3): it cuts a chunk out, compresses, sends, reads back and
	// compares it.
	each = `U=$(cat uuid)
for i in $(seq 0 $(($(cat count) - 1))); do
  dd if="$IMG" of=chunk bs=4M skip=$i count=1 status=none
  PACK <chunk >chunk.gz
  curl -sf -u u:p -H 'Content-Type: application/octet-stream' -H 'Content-Encoding: gzip' -H Expect: \
    --data-binary @chunk.gz http://$API/drives/$U/write/$((i * 4194304))
  curl -sf -u u:p http://$API/drives/$U/read/$((i * 4194304))/$(stat -c %s chunk) | cmp - chunk
done
`
	verify   = `transferctl verify near:$(cat uuid) "$IMG" --local`
	fresh    = `: >"$TARGET"; truncate -s $(stat -c %s "$IMG") "$TARGET"`
	sent     = `cmp "$IMG" "$TARGET"`
	stored   = `transferctl upload "$IMG" near: --local >uuid; cat "$IMG" >"$TARGET"; rm -f "$OUT" "$OUT".manifest.json`
	received = `cmp "$IMG" "$OUT"`
	// spread makes an image of 1 TiB that has the data of $IMG in 16 ranges, far from each other.
	spread = `SIZE=$(stat -c %s "$IMG")
[ -f tebibyte.img ] || { truncate -s 1T tebibyte.img; for i in $(seq 0 15); do
  dd if="$IMG" of=tebibyte.img bs=4M skip=$((i * SIZE / 67108864)) seek=$((i * 16384)) \
    count=$((SIZE / 67108864)) conv=notrunc status=none
done; }`
	// To read the whole drive would take hours: the ranges with data are compared, and the drive's
	// file must take no more space than they need.
	spreadSent = `SIZE=$(stat -c %s "$IMG") DRIVE=drives/drives/$(cat uuid).raw
for i in $(seq 0 15); do cmp -n $((SIZE / 16)) -i $((i * 68719476736)) tebibyte.img "$DRIVE"; done
test $(stat -c %s "$DRIVE") = 1099511627776
test $(($(stat -c %b "$DRIVE") * 512)) -le $SIZE`
)

// setting is transferd with one of its choices fixed, or auto. All encodings are compared with the
// same number of chunks in flight: on a slow link an image has few chunks, and with more in flight
// none is read back while others are written.
func setting(kind, flag, value string) contender {
	c := contender{
		name: flag + " " + value, kind: kind, links: true, check: verify,
		run: `transferctl upload "$IMG" s: --local ` + flag + " " + value + " >uuid",
	}
	if kind == "encoding" {
		c.run = replace(c.run, "--local", "--local --concurrency 8")
	}
	return c
}

// contenders are in the order in which they run; the others of a kind are compared with its first.
var contenders = []contender{
	{
		name: "transferd, verified", kind: "upload", links: true,
		run: `transferctl upload "$IMG" s: --local >uuid`, check: verify,
	},
	{
		name: "nbdcopy (not verified)", kind: "upload", links: true,
		prepare: fresh, run: `nbdcopy "$IMG" nbd://$NBD`, check: sent,
	},
	{
		name: "nbdcopy, qemu-img compare", kind: "upload", links: true,
		prepare: fresh, check: sent,
		run: `nbdcopy "$IMG" nbd://$NBD; qemu-img compare -q -f raw -F raw "$IMG" nbd://$NBD`,
	},
	{
		// To read back into a file, with parallel requests, and openssl are faster than a pipe and
		// sha256sum.
		name: "nbdcopy both ways, SHA-256 of both", kind: "upload", links: true,
		prepare: fresh + `; rm -f back.img`, check: sent,
		run: `nbdcopy "$IMG" nbd://$NBD
openssl dgst -sha256 <"$IMG" >here &
nbdcopy nbd://$NBD back.img
openssl dgst -sha256 <back.img >there
wait
cmp here there`,
	},
	{
		name: "rclone to WebDAV, check --download", kind: "upload",
		// A new folder each time, because the server caches the listing of the last one.
		prepare: `rm -rf dav/* src; mkdir src; ln "$IMG" src/x.img; echo $RANDOM$RANDOM >folder`,
		run: `export RCLONE_CONFIG=/dev/null RCLONE_WEBDAV_URL=http://$DAV
rclone copy src :webdav:$(cat folder)
rclone check --download src :webdav:$(cat folder)`, check: `cmp "$IMG" dav/$(cat folder)/x.img`,
	},
	{
		name: "dd, pigz -1, curl, and reading back", kind: "upload", slow: true,
		prepare: drive, run: replace(each, "PACK", "pigz -1"), check: verify,
	},
	{
		name: "the manual's way: dd, gzip, curl, reading back", kind: "upload", slow: true,
		prepare: drive, run: replace(each, "PACK", "gzip"), check: verify,
	},
	{
		name: "transferd, verified", kind: "download", links: true, prepare: stored,
		run: `transferctl download s:$(cat uuid) "$OUT" --local`, check: received,
	},
	{
		name: "nbdcopy (not verified)", kind: "download", links: true, prepare: stored,
		run: `nbdcopy nbd://$NBD "$OUT"`, check: received,
	},
	{
		name: "curl, one request after another (not verified)", kind: "download", links: true, prepare: stored,
		run: `LAST=$(($(stat -c %s "$IMG") - 4194304))
curl -sf -u u:p "http://$API/drives/$(cat uuid)/read/[0-$LAST:4194304]/4194304" >"$OUT"`, check: received,
	},
	{
		name: "transferd, the data alone", kind: "tebibyte",
		run: `transferctl upload "$IMG" s: --local >uuid`, check: verify,
	},
	{
		name: "transferd, the data in 1 TiB", kind: "tebibyte", prepare: spread,
		run: `transferctl upload tebibyte.img s: --local >uuid`, check: spreadSent,
	},
	setting("encoding", "--compression", "auto"), setting("encoding", "--compression", "none"),
	setting("encoding", "--compression", "1"), setting("encoding", "--compression", "6"),
	setting("in flight", "--concurrency", "auto"), setting("in flight", "--concurrency", "1"),
	setting("in flight", "--concurrency", "4"), setting("in flight", "--concurrency", "8"),
	setting("in flight", "--concurrency", "16"),
}
