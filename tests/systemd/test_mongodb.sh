#!/bin/bash
# The drop-in for MongoDB under a real systemd (machine.sh): without it no server is reached; with it, a server by its name; and
# with an IPAddressAllow= for each server, only those.
# shellcheck source=tests/systemd/machine.sh
. "$SOURCE/tests/systemd/machine.sh"

server=$VENVS/mongo/bin/secantusd-py
[ -x "$server" ] || skip "there is no MongoDB server: \`make mongo-servers\` fetches it"
machine_start

# The network is the machine's own, so ports are free.
mkdir mongo
nsenter --target "$first" --net -- setpriv --pdeathsig KILL "$server" --host 127.0.0.1 --port 27017 --storage-path mongo >mongo.log 2>&1 &
mongo=$!
trap 'kill $mongo; end' EXIT # which waits for all
until inside bash -c ': </dev/tcp/127.0.0.1/27017' 2>/dev/null; do
        kill -0 $mongo || fail "the server: $(cat mongo.log)"
done
inside tee -a /etc/hosts >/dev/null <<<'127.0.0.1 mongo.gramd.test'
inside tee /etc/gramd/gramd.conf >/dev/null <<<'mongo = mongodb://mongo.gramd.test/?serverSelectionTimeoutMS=500'
inside mkdir -p /run/units/gramd.service.d
inside tee /run/units/gramd.service.d/test.conf >/dev/null <<-'END'
	[Unit]
	StartLimitIntervalSec=0
	[Service]
	StandardError=append:/mnt/gramd.log
	RestartSec=0
END

import() {
        inside systemctl daemon-reload
        inside systemctl restart gramd.service || fail "restart"
        # Which sessions are its own, it asks the server first.
        until echo "$string" | inside gramctl import "$1" --backend mongo --api-id 1 >imported 2>&1; do
                grep -q 'being confirmed' imported || return 1
        done
}
unreachable() {
        ! import "$1" || fail "$1: it reaches the server"
        grep -q unavailable imported || fail "$1: $(cat imported)"
}
inside systemctl daemon-reload
inside systemctl start gramd.socket || fail "the socket"
unreachable without

inside cp /usr/local/share/doc/gramd/mongodb.conf /run/units/gramd.service.d/
import anna || fail "with the drop-in: $(cat imported)"
inside gramctl export anna --backend mongo --format telethon | grep -qx "$string" || fail "what it reads is not what was written"
pid=$(property MainPID)
inside systemctl kill --signal=KILL gramd.service
inside gramctl export anna --backend mongo --format telethon | grep -qx "$string" || fail "after a kill"
[ "$(property MainPID)" != "$pid" ] || fail "it was not killed"
! inside ls /dev/shm | grep mongoc || fail "the driver's counters stay when it is killed"

# As the drop-in advises.
allow() {
        inside tee /run/units/gramd.service.d/network.conf >/dev/null <<<"[Service]
IPAddressAllow=
IPAddressAllow=$1"
}
allow 192.0.2.1
unreachable another-server
allow 127.0.0.1
import bert || fail "with its address: $(cat imported)"
inside systemctl stop gramd.socket gramd.service || fail "stop"
echo "$(basename "$0"): done"
