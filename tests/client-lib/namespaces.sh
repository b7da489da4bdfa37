#!/bin/bash
# A daemon and users, for scripts about namespaces and containers that include this file.
# shellcheck disable=SC2016,SC2034,SC2094 # inner shells expand these; the scripts use these; a function and a file have one name
set -euo pipefail

server=61000 alice=61001 bob=61002 overflow=65534 group=61010
work=$PWD
export PATH=$BUILD:$PATH DIR=$work/run GRAMD_SOCKET=$work/run/gramd.sock
chmod 711 "$work"
install -d -m 755 -o $server run
install -d -m 700 -o $server data

fail() {
        echo "$(basename "$0"): $*" >&2
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

# documented LINE: it stands in SECURITY.md.
documented() {
        grep -qxF "       $1" "$SOURCE/SECURITY.md" || fail "SECURITY.md does not have: $1"
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
