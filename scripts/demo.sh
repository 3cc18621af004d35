#!/bin/sh
# demo.sh [IMAGE]: starts a transferd that brings its own queue and endpoint, uploads a disk image (one with a partition
# table and a file system of real files if none is given), clones the drive, downloads the clone, and compares. It works
# in a temporary folder and leaves nothing behind.
set -eu
PATH=$PATH:/usr/sbin:/sbin
bin=$(cd "$(dirname "$0")/.." && pwd)/bin
work=$(mktemp -d)
daemon=
finish() {
	status=$?
	set +e # the terminal may be gone
	trap - EXIT
	# A second interrupt has the daemon end at once. Its files are removed in any case.
	trap 'kill "$daemon" 2>/dev/null' INT TERM HUP
	if [ -n "$daemon" ]; then
		kill "$daemon" 2>/dev/null
		while kill -0 "$daemon" 2>/dev/null; do
			wait "$daemon"
		done
	fi
	if [ $status != 0 ] && [ -s "$work/transferd.log" ]; then
		echo "the end of the daemon's log:" >&2
		tail -n 20 "$work/transferd.log" >&2
	fi
	rm -rf "$work"
	exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# make_image writes an MBR with one Linux partition and, in it, an ext4 file system that holds Go's own sources.
make_image() {
	"$(dirname "$0")/need.sh" mkfs.ext4 e2fsprogs
	start=2048 sectors=$((512 * 2048 - 2048))
	truncate -s 512M "$1"
	{
		head -c 446 /dev/zero
		printf '\200\376\377\377\203\376\377\377'
		for n in $start $sectors; do
			# Each number as four bytes, the lowest first.
			# shellcheck disable=SC2059
			printf "$(printf '\\%03o\\%03o\\%03o\\%03o' $((n & 255)) $((n >> 8 & 255)) $((n >> 16 & 255)) $((n >> 24 & 255)))"
		done
		head -c 48 /dev/zero
		printf '\125\252'
	} | dd of="$1" conv=notrunc status=none
	mkfs.ext4 -q -F -d "$(go env GOROOT)/src" -E offset=$((start * 512)) "$1" $((sectors / 2))k
}

export TRANSFERD_STATE="$work/state" TRANSFERD_CONFIG="$work/config.yaml"
: >"$TRANSFERD_CONFIG"
image=${1:-$work/disk.img}
if [ $# = 0 ]; then
	echo "making a 512 MiB disk image: a partition table and an ext4 file system with the sources of Go"
	make_image "$image"
fi
size=$(stat -L -c %s "$image")
echo "image    $image, $size bytes, $(du -k "$image" | cut -f1) KiB allocated"

# In a session of its own: a Ctrl-C is for this script, which stops the daemon.
setsid "$bin/transferd" --dev --listen 127.0.0.1:0 2>"$work/transferd.log" &
daemon=$!
# The daemon announces its endpoint last, when its queue answers.
until "$bin/transferctl" endpoints check sandbox >/dev/null 2>&1 && "$bin/transferctl" jobs list >/dev/null 2>&1; do
	kill -0 "$daemon" 2>/dev/null || { echo "transferd did not start" >&2; exit 1; }
	sleep 0.1
done
echo "started  transferd --dev (an embedded queue, a sandbox endpoint, a worker)"

drive=$("$bin/transferctl" upload "$image" sandbox: --name demo --wait)
echo "uploaded drive $drive"
clone=$("$bin/transferctl" clone "sandbox:$drive" --name demo-clone --wait)
echo "cloned   drive $clone"
"$bin/transferctl" download "sandbox:$clone" "$work/copy.img" --wait >/dev/null
echo "downloaded the clone"

want=$(sha256sum <"$image") got=$(sha256sum <"$work/copy.img")
echo "source   SHA-256 ${want%% *}"
echo "copy     SHA-256 ${got%% *}"
[ "$want" = "$got" ] || { echo "they differ" >&2; exit 1; }
echo "equal: what came back is what was sent"
