#!/bin/sh
# install.sh PACKAGE...: installs those Debian packages that are missing; quick when none is.
set -eu
is_installed() {
    dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}
# By another one, as NodeSource's nodejs has npm in it, and refuses Debian's beside it.
is_provided() {
    dpkg-query -W -f='${db:Status-Status} ${Provides},\n' |
        grep -Eq "^installed (.*, )?$1( \([^)]*\))?,"
}
missing=
for package in "$@"; do
    is_installed "$package" || is_provided "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || {
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
