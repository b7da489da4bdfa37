#!/bin/bash
# User namespaces, as containers have them: which uid each side reads, what that permits, and the recipes of SECURITY.md,
# whose commands are run as they stand there.
# shellcheck disable=SC2016,SC2094 # inner shells expand these; a function and a file have one name
set -euo pipefail

if [ "$(id -u)" -ne 0 ] || ! unshare --user true; then
        echo "SKIPPED: namespaces: this needs root, and user namespaces"
        exit 0
fi

server=61000 alice=61001 bob=61002 overflow=65534 group=61010
work=$PWD
export PATH=$BUILD:$PATH DIR=$work/run GRAMD_SOCKET=$work/run/gramd.sock
chmod 711 "$work"
install -d -m 755 -o $server run
install -d -m 700 -o $server data

fail() {
        echo "namespaces: $*" >&2
        cat log >&2
        exit 1
}

as_server=(setpriv --reuid "$server" --regid "$server" --clear-groups --)
as() { # as UID COMMAND...
        setpriv --reuid "$1" --regid "$1" --clear-groups -- "${@:2}"
}

# says TEXT COMMAND...: the command's output has the text.
says() {
        local text=$1 output
        shift
        output=$("$@" 2>&1) || true
        case $output in
        *"$text"*) ;;
        *) fail "no '$text' in the output of '$*': $output" ;;
        esac
}

# recipe UID LINE: the line stands in SECURITY.md, and works for this user.
recipe() {
        grep -qxF "       $2" "$SOURCE/SECURITY.md" || fail "SECURITY.md does not have: $2"
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

daemon=
start() { # start COMMAND...: the words before gramd, of programs that end as it
        mkfifo told
        "$@" gramd --config conf --data "$work/data" --socket "$GRAMD_SOCKET" 2>told &
        daemon=$!
        exec 3<told
        while read -r line <&3; do
                echo "$line" >>log
                case $line in *" serves "*) break ;; esac
        done
        cat <&3 >>log &
        exec 3<&-
        rm told
        chmod 666 "$GRAMD_SOCKET"
}

stop() {
        kill "$daemon"
        wait "$daemon" || true
}
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true' EXIT

string() { # a Pyrogram session string of user $1
        {
                printf '\2\0\0\0\1\0'
                head -c 256 /dev/zero | tr '\0' k
                printf '\0\0\0\0\0\0\0%b\0' "\\$1"
        } | base64 -w 0 | tr '+/' '-_' | tr -d =
}
string 7 >string
chmod 644 string
: >conf
chmod 644 conf

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
