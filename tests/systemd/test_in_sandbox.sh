#!/bin/sh
# Programs of the test suite, whose daemons run as the installed unit confines them (tests/support/sandbox): requests of all
# kinds, full disks, kills, and hosts that share a MongoDB. A system call that the unit refuses kills the daemon.
set -eu
status=0

if [ "$(id -u)" != 0 ] || [ -n "${RUNNER:-}" ] ||
        ! awk '$5 == "/" { found = 1 } END { exit !found }' /proc/self/mountinfo; then
        printf '\n*** SKIPPED: tests under the restrictions of the unit: this needs root, no valgrind, and no chroot ***\n\n' >&2
        exit 0
fi

# Daemons have another user.
umask 022
chmod 755 .
flock "$BUILD/install.lock" make -C "$SOURCE" install PREFIX="$PWD/installed" >/dev/null
units=$PWD/installed/lib/systemd/system
mkdir "$units/gramd.service.d"
export SANDBOX_KILLS=1 SANDBOX_UID=61230 GRAMD_SERVER_UID=61230 GRAMD_WRAPPER="$SOURCE/tests/support/sandbox/run $units/gramd.service"

run() {
        mkdir "$1"
        (cd "$1" && "$BUILD/tests/$1") || status=1
}

mkdir wire mongo
for program in access fields full_disk strings watch; do
        run "wire/test_$program"
done
cp installed/share/doc/gramd/mongodb.conf "$units/gramd.service.d/"
run mongo/test_handover
exit $status
