#!/bin/sh
# need.sh [--packages] NEED=PACKAGE...: names all needs that are missing, with the Debian packages that have them, and
# fails. It installs nothing. With --packages it prints these packages, and succeeds. A need is a program, or as
# python3:MODULE a module of Debian's Python.
set -eu
PATH=$PATH:/usr/sbin:/sbin
list=
if [ "$1" = --packages ]; then
	list=yes
	shift
fi

has() {
	case $1 in
	python3:*) /usr/bin/python3 -Ic "import importlib.util; assert importlib.util.find_spec('${1#*:}')" ;;
	*) command -v "$1" ;;
	esac >/dev/null 2>&1
}

missing= packages=
for need in "$@"; do
	name=${need%%=*} package=${need#*=}
	has "$name" && continue
	case " $missing " in *" $name "*) ;; *) missing="$missing $name" ;; esac
	case " $packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
done
if [ "$list" ]; then
	echo $packages
elif [ "$missing" ]; then
	echo "missing:$missing" >&2
	echo "Install them and try again (Debian, Ubuntu: apt-get install$packages)." >&2
	exit 1
fi
