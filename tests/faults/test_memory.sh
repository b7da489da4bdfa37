#!/bin/sh
# A daemon whose memory is short (memory.py). Arguments are the driver's.
exec "$SOURCE/tests/faults/python" memory.py "$@"
