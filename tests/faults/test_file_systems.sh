#!/bin/sh
# Full, read-only and slow file systems (file_systems.py). Arguments are the driver's.
exec "$SOURCE/tests/faults/python" file_systems.py "$@"
