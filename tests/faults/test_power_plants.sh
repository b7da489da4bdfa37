#!/bin/sh
# Faults that are planted below the daemon (power.py, PLANTS): the checker of the power cuts must find each.
set -eu
for arguments in '--plant file-syncs' '--plant file-syncs --fsync everysec --seconds 3' '--plant directory-syncs' \
        '--plant forgotten --failed-syncs' '--plant refused --cuts 60'; do
        # shellcheck disable=SC2086 # words
        "$SOURCE/tests/faults/python" power.py --cuts 30 --seconds 2 --show 1 $arguments &
        jobs="${jobs-} $!"
done
failed=0
for job in $jobs; do
        wait "$job" || failed=1
done
exit $failed
