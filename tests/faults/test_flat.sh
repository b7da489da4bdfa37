#!/bin/sh
# Hours of use leave nothing behind (flat.py). Arguments are the driver's.
exec "$SOURCE/tests/faults/python" flat.py "$@"
