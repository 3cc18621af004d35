#!/bin/sh
# need.sh [--packages] PROGRAM=PACKAGE...: names all programs that are missing, with the Debian packages that have
# them, and fails. It installs nothing. With --packages it prints these packages, and succeeds.
set -eu
PATH=$PATH:/usr/sbin:/sbin
list=
if [ "$1" = --packages ]; then
	list=yes
	shift
fi
programs= packages=
for need in "$@"; do
	program=${need%%=*} package=${need#*=}
	command -v "$program" >/dev/null && continue
	case " $programs " in *" $program "*) ;; *) programs="$programs $program" ;; esac
	case " $packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
done
if [ "$list" ]; then
	echo $packages
elif [ "$programs" ]; then
	echo "missing programs:$programs" >&2
	echo "Install them and try again (Debian, Ubuntu: apt-get install$packages)." >&2
	exit 1
fi
