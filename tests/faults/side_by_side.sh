#!/bin/sh
# power.py with each of the arguments, which are words for it, side by side, because the runs mostly wait. Fails if one
# fails.
set -eu
for words; do
        # shellcheck disable=SC2086 # words
        "$SOURCE/tests/faults/python" power.py --cuts 30 --seconds 2 $words &
        jobs="${jobs-} $!"
done
failed=0
for job in $jobs; do
        wait "$job" || failed=1
done
exit $failed
