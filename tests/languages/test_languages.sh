#!/bin/sh
# Clients in two other languages: one that sends floats and empty arrays, and one whose library is a Debian package of
# its sources. `make interop-all` runs all of tests/languages.
set -eu
exec "$SOURCE/tests/languages/run" lua go
