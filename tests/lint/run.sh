#!/bin/bash
# Everything about the sources that a compiler does not say. LINT_TIDY=0 leaves out clang-tidy,
# which takes most of the time.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
step() { # step NAME COMMAND...
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        echo "ok    $name"
    else
        echo "FAIL  $name"
        bad=1
    fi
    [ -z "$out" ] || printf '%s\n' "$out"
}

mapfile -t sources < <(find service api cli tests -name '*.[ch]' | sort)
mapfile -t headers < <(printf '%s\n' "${sources[@]}" | grep '\.h$')
mapfile -t scripts < <(git ls-files -co --exclude-standard '*.sh' .ci/run)
mapfile -t product < <(printf '%s\n' "${sources[@]}" | grep -E '^(service|api|cli)/.*\.c$')
packages=$(sed -n 's/^PACKAGES := //p' Makefile)
# shellcheck disable=SC2086,SC2207
flags=(-std=c17 -D_GNU_SOURCE "-DPOSTERN_VERSION='\"lint\"'" -I. -Iservice $(pkg-config --cflags $packages))

export FLAGS="${flags[*]}"

# shellcheck disable=SC2016,SC2317
headers_alone() {
    printf '%s\n' "${headers[@]}" | xargs -P 2 -n 1 bash -c 'eval "gcc $FLAGS -Wall -Wextra \
        -Wno-unused-parameter -Werror -fsyntax-only -x c -include $0 /dev/null"'
}

# Its settings are in .clang-tidy; on stderr it only counts the warnings it did not show.
# shellcheck disable=SC2016,SC2317
tidy() {
    printf '%s\n' "${product[@]}" | grep -v '^service/base/error.c$' |
        xargs -P 2 -n 6 bash -c 'eval "clang-tidy --quiet --warnings-as-errors=* $* -- $FLAGS \
            -include tests/lint/analyzer.h"' tidy 2>/dev/null
}

step "layout (clang-format)" clang-format --dry-run -Werror "${sources[@]}"
step "each header compiles alone" headers_alone
step "includes point one way" python3 tests/lint/includes.py
step "no banned calls" python3 tests/lint/banned.py "${product[@]}"
step "scripts (shellcheck)" shellcheck -x "${scripts[@]}"
[ "${LINT_TIDY:-1}" = 0 ] || step "clang-tidy" tidy
echo "The ten longest functions:"
python3 tests/lint/longest.py "${product[@]}"
exit "$bad"
