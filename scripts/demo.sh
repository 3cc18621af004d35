#!/usr/bin/env bash
# demo.sh [IMAGE]: builds the programs, starts a transferd with a queue and an endpoint of its own, uploads a disk image
# (one with a partition table and a file system of real files if none is given), clones the drive, downloads the clone,
# and compares. It works in a temporary folder. However it ends, it leaves no process behind, and no file but bin/.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
root=$(cd -- "$(dirname -- "$0")/.." >/dev/null && pwd)
bin=$root/bin

image=${1:-}
case $image in
"" | /*) ;;
*) image=$PWD/$image ;; # a name such as -a or zrh:b is no option and no address
esac

# make_image writes an MBR with one Linux partition and, in it, an ext4 file system that holds Go's own sources.
make_image() {
	local start=2048 sectors=$((512 * 2048 - 2048))
	truncate -s 512M "$1"
	{
		head -c 446 /dev/zero
		printf '\200\376\377\377\203\376\377\377'
		for n in $start $sectors; do
			# Each number as four bytes, the lowest first.
			# shellcheck disable=SC2059
			printf "$(printf '\\%03o\\%03o\\%03o\\%03o' \
				$((n & 255)) $((n >> 8 & 255)) $((n >> 16 & 255)) $((n >> 24 & 255)))"
		done
		head -c 48 /dev/zero
		printf '\125\252'
	} | dd of="$1" conv=notrunc status=none
	mkfs.ext4 -q -F -d "$(go env GOROOT)/src" -E offset=$((start * 512)) "$1" $((sectors / 2))k
}

demo() {
	(cd "$root" && go build -o bin/ ./cmd/...)
	if [ -z "$image" ]; then
		echo "making a 512 MiB disk image: a partition table and an ext4 file system with the sources of Go"
		image=$work/disk.img
		make_image "$image"
	fi
	size=$(stat -L -c %s "$image")
	echo "image    $image, $size bytes, $(du -k "$image" | cut -f1) KiB allocated"

	"$bin/transferd" --dev --listen 127.0.0.1:0 2>"$work/transferd.log" &
	# The daemon announces its endpoint last, when its queue answers.
	until "$bin/transferctl" endpoints check sandbox >/dev/null 2>&1 && "$bin/transferctl" jobs list >/dev/null 2>&1; do
		kill -0 $! 2>/dev/null || { echo "transferd did not start" >&2; exit 1; }
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
	echo "equal: the bytes that came back are the bytes that were sent"
}

status=0

# stop ends the demo, a process group of its own, after a signal. It only notes the signal if the demo has not started.
stop() {
	status=$1
	[ -z "${!:-}" ] || kill -s TERM -- "-$!" 2>/dev/null || true
}

for signal in HUP INT QUIT TERM; do
	# shellcheck disable=SC2064
	trap "stop $((128 + $(kill -l $signal)))" $signal
done
work=$(trap '' HUP INT QUIT TERM && mktemp -d)
set +e # from here on the end of this script must be reached
export TMPDIR="$work" TRANSFERD_STATE="$work/state" TRANSFERD_CONFIG="$work/config.yaml"
: >"$TRANSFERD_CONFIG"

# Each process of the demo inherits the lock, which is free again when all of them have ended.
exec 9>"$work/lock"
flock 9
set -m
(set -e; demo) </dev/null &
set +m
exec 9>&-
[ $status = 0 ] || stop $status
wait $!
failed=$?
[ $status != 0 ] || status=$failed

# The terminal may be gone, and further signals must not end this.
trap '' HUP INT PIPE QUIT TERM
for signal in TERM KILL; do
	kill -s $signal -- "-$!" 2>/dev/null
	flock --timeout 20 "$work/lock" true && break
done
if [ $status != 0 ] && [ $status -lt 128 ] && [ -s "$work/transferd.log" ]; then
	echo "the end of the daemon's log:" >&2
	tail -n 20 "$work/transferd.log" >&2
fi
rm -rf "$work"
exit $status
