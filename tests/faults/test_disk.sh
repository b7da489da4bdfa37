#!/bin/sh
# Each file operation of a session's life fails in turn (disk.py). Arguments are the driver's.
exec "$SOURCE/tests/faults/python" disk.py "$@"
