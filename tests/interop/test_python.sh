#!/bin/sh
# The Python package: its own tests, and the interop tests with every client library. Under a sanitizer the daemon is
# what is tested; there one library of each family is enough, because the daemon sees little difference between them.
# shellcheck disable=SC2086 # a list of words
exec python3 "$SOURCE/tests/interop/run" ${SANITIZE:+kurigram telethon}
