#!/bin/sh
# Descriptors, the clock, stopped processes (limits.py). Arguments are the driver's.
exec "$SOURCE/tests/faults/python" limits.py "$@"
