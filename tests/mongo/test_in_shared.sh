#!/bin/sh
# Who owns a session, handovers and failed writes, with new sessions in the shared layout.
set -eu
export GRAMD_TEST_MONGO_LAYOUT=shared
status=0

# shellcheck disable=SC2086 # words before the program's name
run() {
        ${RUNNER:-} "$BUILD/tests/mongo/$1" || status=1
}

run test_owners
run test_handover
CK_RUN_CASE=writes run test_outage
exit $status
