#!/bin/bash
# User namespaces, as containers have them: which uid each side reads, what that permits, and the recipes of SECURITY.md,
# whose commands are run as they stand there.
# shellcheck disable=SC2016,SC2094 # inner shells expand these; a function and a file have one name
set -euo pipefail

if [ "$(id -u)" -ne 0 ] || ! unshare --user true; then
        echo "SKIPPED: namespaces: this needs root, and user namespaces"
        exit 0
fi

# shellcheck source=tests/client-lib/namespaces.sh
. "$SOURCE/tests/client-lib/namespaces.sh"

# recipe UID LINE: the line stands in SECURITY.md, and works for this user.
recipe() {
        documented "$2"
        as "$1" bash -c "$2" || fail "$2"
}

# in_map MAP UID COMMAND...: in a user namespace with this map, as that user of it. Only root can make such a map.
in_map() {
        local map=$1 uid=$2 child status=0
        shift 2
        mkfifo ready go
        unshare --user --keep-caps bash -c 'echo >ready; read -r _ <go; exec setpriv --reuid "$0" --regid "$0" --clear-groups -- "$@"' \
                "$uid" "$@" &
        child=$!
        read -r _ <ready
        env printf "$map" >"/proc/$child/uid_map" # in one write, which bash's own does not do
        env printf "$map" >"/proc/$child/gid_map"
        echo >go
        wait "$child" || status=$?
        rm ready go
        return $status
}

# ---- the daemon on the host ----

start "${as_server[@]}"
export GRAMD_SERVER_UID=$server
says 'set' as $alice gramctl import anna string

# In alice's own namespace nobody knows the daemon's uid. It is refused, whatever number of the host is named.
container=(unshare --map-root-user)
says "is the socket of uid $overflow" as $alice "${container[@]}" gramctl show anna
unset GRAMD_SERVER_UID
says "is the socket of uid $overflow" as $alice "${container[@]}" gramctl show anna
recipe $alice 'GRAMD_SERVER_UID=65534 unshare --map-root-user gramctl show anna >/dev/null'
recipe $alice 'GRAMD_SERVER_UID=65534 unshare --map-root-user --mount sh -c "mount --bind -o ro $DIR $DIR && gramctl show anna" >/dev/null'

# The Python package looks in the same way. Where it is, other users may have no way to.
"$SOURCE/tests/faults/python" ../client-lib/show.py 2>made || true # makes the environment
grep -q IndexError made || fail "Python: $(cat made)"
mkdir python
cp -r "$SOURCE/client-lib/python/gramd" "$SOURCE/tests/client-lib/show.py" "$VENVS"/faults/lib/python3*/site-packages/msgpack python
chmod -R a+rX python
python=(env PYTHONDONTWRITEBYTECODE=1 python3 "$work/python/show.py")
export GRAMD_SERVER_UID=$server
says 'user 7' as $alice "${python[@]}" anna
says "is the socket of uid $overflow" as $alice "${container[@]}" "${python[@]}" anna
unset GRAMD_SERVER_UID
says "is the socket of uid $overflow" as $alice "${container[@]}" "${python[@]}" anna
export GRAMD_SERVER_UID=$overflow
says 'user 7' as $alice "${container[@]}" "${python[@]}" anna
says 'Denied' as $bob "${container[@]}" "${python[@]}" anna

# The daemon knows users by their numbers on the host: root of bob's namespace is bob, who does not own the session.
export GRAMD_SERVER_UID=$overflow
says '[denied]' as $bob "${container[@]}" gramctl show anna
says 'set' as $bob "${container[@]}" gramctl import bert string
says '[denied]' as $alice "${container[@]}" gramctl show bert
grep -q "uid=$bob .*session=\"bert\"" log || fail "the log has no uid $bob"

# The container's map has the daemon's user, as number 999: it is named, and nobody else is trusted.
export GRAMD_SERVER_UID=999
in_map "0 $alice 1\n999 $server 1\n" 0 gramctl show anna >/dev/null || fail "the mapped uid is not trusted"
export GRAMD_SERVER_UID=$overflow
says "is the socket of uid 999" in_map "0 $alice 1\n999 $server 1\n" 0 gramctl show anna
says "is the socket of uid 999" in_map "0 $alice 1\n999 $server 1\n" 0 "${python[@]}" anna
says 'user 7' in_map "0 $alice 1\n999 $server 1\n" 0 env GRAMD_SERVER_UID=999 "${python[@]}" anna
# A user of the container other than its root: alice's subordinate number owns what it makes, not she.
says 'set' in_map "0 $alice 1\n1 100000 1000\n" 5 gramctl import carl string
says '[denied]' as $alice env GRAMD_SERVER_UID=$server gramctl show carl
grep -q "uid=100004 .*session=\"carl\"" log || fail "the log has no uid 100004"
stop

# A group of the host counts, though the container does not know it: for the socket's mode, and for rules.
printf '[access]\ngroup %d = read,write on team-*\n' $group >conf
start "${as_server[@]}"
chgrp $group "$GRAMD_SOCKET"
chmod 660 "$GRAMD_SOCKET"
says 'set' setpriv --reuid $alice --regid $alice --groups $group "${container[@]}" gramctl import team-a string
says 'cannot connect' as $bob "${container[@]}" gramctl show team-a
stop

# ---- the daemon in a namespace: it knows none of the host's users ----

: >conf
rm -rf data
install -d -m 700 -o $server data
start "${as_server[@]}" unshare --map-root-user
export GRAMD_SERVER_UID=$server
# $server is root there.
says 'set' as $server gramctl import own string
says '[denied]' as $alice gramctl show own
# What alice makes has no owner: without rules it is everybody's.
says 'set' as $alice gramctl import alices string
says 'name' as $bob gramctl show alices
says '[denied]' as $alice gramctl list
grep -q "uid=$overflow .*session=\"alices\"" log || fail "the log has no uid $overflow"
says '[denied]' gramctl list # root of the host is not the namespace's
stop

# Rules for everyone are for them, others are not, and those for 65534 are refused.
printf '[access]\nuser 0 = read,write\nuser %d = read,write\neveryone = read on public-*\n' $alice >conf
start "${as_server[@]}" unshare --map-root-user
says 'set' as $server gramctl import public-a string
says 'name' as $alice gramctl show public-a
says '[denied]' as $alice gramctl show own
says '[denied]' as $alice gramctl import mine string
stop
printf '[access]\nuser %d = read,write\n' $overflow >conf
says "a user namespace does not map" gramd --config conf --check-config

# A user of the host who has this number, as nobody has, is no owner either.
: >conf
start "${as_server[@]}"
says 'set' as $overflow gramctl import nobodys string
says 'name' as $bob gramctl show nobodys
stop
daemon=
echo "namespaces: done"
