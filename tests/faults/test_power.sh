#!/bin/sh
# The power is cut at many moments of a recorded load (power.py): with each `fsync`, then with syncs and writes that fail
# and a daemon that is killed. Arguments are the driver's.
set -eu
[ $# -eq 0 ] || exec "$SOURCE/tests/faults/python" power.py "$@"

# Side by side, because they mostly wait.
for arguments in '--fsync always' '--fsync everysec --seconds 3' '--fsync no' \
        '--fsync always --failed-syncs --kills' '--fsync everysec --failed-syncs --failed-writes --seconds 3'; do
        # shellcheck disable=SC2086 # words
        "$SOURCE/tests/faults/python" power.py --cuts 30 --seconds 2 $arguments &
        jobs="${jobs-} $!"
done
failed=0
for job in $jobs; do
        wait "$job" || failed=1
done
exit $failed
