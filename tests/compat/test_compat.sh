#!/bin/sh
# Compatibility with the first version. Builds it from the history, once, into $BUILD/compat, and the probe against
# the first and against this version's library; then runs test_compat.py.
set -eu
first=91e977a82472bfb84ab59a1e9b7f90e40b5537f1
old=$BUILD/compat/$first

fail() {
        echo "compat: $1" >&2
        exit 1
}

if [ ! -d "$old" ]; then
        git -C "$SOURCE" cat-file -e "$first^{commit}" 2>/dev/null ||
                fail "the first version, commit $first, is not in the history of $SOURCE.
These tests need a git clone with the whole history: run \`git fetch --unshallow\` in a shallow one."
        rm -rf "$old.new"
        mkdir -p "$old.new"
        git -C "$SOURCE" archive "$first" | tar -x -C "$old.new"
        # With its own Makefile and flags: nothing of this version's make may reach it.
        env -i PATH="$PATH" CC="$CC" make -C "$old.new" build BUILD=build >"$old.log" 2>&1 ||
                { cat "$old.log" >&2 && fail "the first version cannot be built"; }
        mv "$old.new" "$old"
fi

# probe NAME TREE BUILD: ./NAME is the probe with that library.
probe() {
        "$CC" -std=c11 -D_GNU_SOURCE ${SANITIZE:+"-fsanitize=$SANITIZE"} ${COVERAGE:+--coverage} \
                -I"$2/client-lib" -o "$1" "$SOURCE/tests/compat/probe.c" -L"$3" -lgram
}
probe probe_first "$old" "$old/build"
probe probe_this "$SOURCE" "$BUILD"

packages="msgpack==1.2.4"
environment=$VENVS/compat
if [ "$(cat "$environment/packages" 2>/dev/null)" != "$packages" ]; then
        rm -rf "$environment"
        python3 -m venv "$environment"
        "$environment/bin/pip" install --quiet --disable-pip-version-check "$packages"
        echo "$packages" >"$environment/packages"
fi
export FIRST="$old" PYTHONDONTWRITEBYTECODE=1
exec "$environment/bin/python" "$SOURCE/tests/compat/test_compat.py"
