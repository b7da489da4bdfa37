#!/bin/sh
# The Python package: its own tests, and the interop tests with every client library.
exec python3 "$SOURCE/tests/interop/run"
