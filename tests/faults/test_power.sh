#!/bin/sh
# The power is cut at many moments of a recorded load (power.py): with each `fsync`, then with syncs and writes that fail
# and a daemon that is killed. Arguments are the driver's.
set -eu
[ $# -eq 0 ] || exec "$SOURCE/tests/faults/python" power.py "$@"
exec "$SOURCE/tests/faults/side_by_side.sh" '--fsync always' '--fsync everysec --seconds 3' '--fsync no' \
        '--fsync always --failed-syncs --kills' '--fsync everysec --failed-syncs --failed-writes --seconds 3'
