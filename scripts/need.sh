#!/bin/sh
# need.sh PROGRAM PACKAGE: makes sure that PROGRAM is there, installs Debian's PACKAGE where it may, and else says how to
# get it.
set -eu
program=$1 package=$2
PATH=$PATH:/usr/sbin:/sbin
if command -v "$program" >/dev/null; then
	exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing $package for $program" >&2
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
	exit 0
fi
echo "$program is missing. Install it (Debian, Ubuntu: apt-get install $package) and try again." >&2
exit 1
