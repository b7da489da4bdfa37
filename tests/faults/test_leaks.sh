#!/bin/sh
# Marked secrets in all that comes out (leaks.py).
exec "$SOURCE/tests/faults/python" leaks.py "$@"
