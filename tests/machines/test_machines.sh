#!/bin/sh
# Three hosts on one MongoDB server, disturbed at random, and a checker of their clients' histories (driver.py). Without
# arguments the short form: the checker over made-up histories (prove.py), then a run of some seconds with a fixed seed, or
# $GRAMD_TEST_SEED. Arguments are the driver's.
set -eu
here=$SOURCE/tests/machines
export PYTHONDONTWRITEBYTECODE=1

[ $# -gt 0 ] || python3 "$here/prove.py"
if [ ! -x "$VENVS/mongo/bin/secantusd-py" ]; then
        echo "SKIPPED: machines: SecantusDB is not there: \`make mongo-servers\` fetches it"
        exit 0
fi
[ $# -gt 0 ] || set -- --seconds 16
# The driver and its clients use the package as it is in the tree.
PYTHONPATH=$SOURCE/client-lib/python exec "$VENVS/mongo/bin/python" "$here/driver.py" "$@"
