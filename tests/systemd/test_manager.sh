#!/bin/bash
# The installed units under a real systemd (machine.sh).
# shellcheck source=tests/systemd/machine.sh
. "$SOURCE/tests/systemd/machine.sh"

machine_start

# ---- what the sandbox refuses: what tests/support/sandbox applies is what systemd applies ----

inside tee /run/units/probe.service <installed/usr/local/lib/systemd/system/gramd.service >/dev/null
inside mkdir /run/units/probe.service.d
inside tee /run/units/probe.service.d/probe.conf >/dev/null <<-'END'
	[Service]
	Type=oneshot
	Restart=no
	WatchdogSec=0
	RuntimeDirectory=probe
	WorkingDirectory=/run/probe
	ExecStart=
	ExecStart=/usr/local/bin/probe probe
	StandardOutput=file:/mnt/probe
END
inside systemctl daemon-reload
inside systemctl start probe.service || fail "the probe"
mkdir probe
uid=$(inside id -u gramd)
(cd probe && SANDBOX_UID=$uid "$SOURCE/tests/support/sandbox/run" ../installed/usr/local/lib/systemd/system/gramd.service \
        "$BUILD/tests/systemd/test_sandbox" probe) >expected
diff <(grep -v '^memory: ' expected) <(grep -v '^memory: ' machine/probe) || # it applies no control groups
        fail "tests/support/sandbox and systemd differ"

# ---- the service ----

# $1: further lines of [Service].
configure() {
        inside mkdir -p /run/units/gramd.service.d
        printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nStandardError=append:/mnt/gramd.log\n%s\n' "${1:-}" |
                inside tee /run/units/gramd.service.d/test.conf >/dev/null
        inside systemctl daemon-reload
}

logged() {
        for _ in $(seq 100); do # a reload returns when the signal is sent
                ! grep -q "$1" machine/gramd.log || return 0
                sleep 0.1
        done
        fail "the log does not say: $1"
}

configure
inside systemctl start gramd.socket || fail "the socket"
[ "$(property ActiveState)" = inactive ] || fail "it runs before a client has connected"
inside gramctl ping >/dev/null || fail "the first client does not start it"
[ "$(property ActiveState)" = active ] || fail "it does not run"
echo "$string" | inside gramctl import anna --api-id 1 >/dev/null || fail "import"

inside systemctl reload gramd.service || fail "reload"
logged 'configuration read again'

# Clients that come all the time, two at a time, while it is stopped and started. systemctl returns when it is.
: >attempts
clients() {
        while [ -e attempts ]; do
                echo "$1" >>"attempted-$1"
                inside gramctl ping >>"pings-$1" 2>>refused || :
        done
}
clients 1 &
first_clients=$!
clients 2 &
second_clients=$!
stops=0
until [ -s refused ] || { [ "$(cat pings-* 2>/dev/null | wc -l)" -ge 40 ] && [ $stops -ge 10 ]; }; do
        if [ $((stops % 2)) = 0 ]; then
                inside systemctl restart gramd.service || fail "restart"
        else
                inside systemctl stop gramd.service 2>/dev/null || fail "stop" # a client starts it
        fi
        stops=$((stops + 1))
done
inside systemctl stop gramd.service 2>/dev/null || fail "stop"
inside gramctl ping >/dev/null || fail "a client does not start it again"
rm attempts
wait "$first_clients" "$second_clients"
[ ! -s refused ] || fail "not all clients were served: $(cat refused)"
attempts=$(cat attempted-* | wc -l)
[ "$(cat pings-* | wc -l)" = "$attempts" ] || fail "$attempts clients, and $(cat pings-* | wc -l) answers"

# As gramd.conf(5) says it. (--with-key=host: on a file system in memory, systemd would not choose this key by itself.)
encrypt='systemd-creds encrypt --with-key=host --name=gramd.key -'
credential='LoadCredentialEncrypted=gramd.key:/etc/gramd/gramd.cred'
inside sh -c "gramctl key new - | $encrypt /etc/gramd/gramd.cred" 2>creds || fail "systemd-creds: $(cat creds)"
configure "$credential"
inside systemctl restart gramd.service || fail "restart with a credential"
logged 'sessions are sealed with key .* former keys: 0'
inside gramctl seal --all >/dev/null || fail "seal"
inside gramctl export anna --format telethon | grep -qx "$string" || fail "the sealed key is not what was imported"
! inside grep -q kkkkkkkk /var/lib/gramd/anna.session || fail "the key is in the file"
inside sh -c "{ gramctl key new -; systemd-creds decrypt --name=gramd.key /etc/gramd/gramd.cred -; } |
        $encrypt /etc/gramd/new.cred && mv /etc/gramd/new.cred /etc/gramd/gramd.cred" 2>creds ||
        fail "a new key: $(cat creds)"
inside systemctl reload gramd.service || fail "reload with a new key"
! grep -q 'former keys: 1' machine/gramd.log || fail "a reload reads credentials again: gramd.conf(5) says that it does not"
inside systemctl restart gramd.service || fail "restart with a new key"
logged 'sessions are sealed with key .* former keys: 1'
inside gramctl rotate --all >rotated || fail "rotate: $(cat rotated)"
inside gramctl export anna --format telethon | grep -qx "$string" || fail "the rotated key is not what was imported"

# One that hangs is killed, and the next one serves the clients that wait.
configure "$credential
WatchdogSec=2"
inside systemctl restart gramd.service
inside sh -c "kill -STOP $(property MainPID)"
inside gramctl ping >/dev/null || fail "no restart by the watchdog"
[ "$(property NRestarts)" = 1 ] || fail "$(property NRestarts) restarts by the watchdog"

inside systemctl stop gramd.socket gramd.service || fail "stop"
[ "$(property Result)" = success ] || fail "the end: $(property Result)"
logged 'ended in order'
! grep -E ' (warning|error) ' machine/gramd.log || fail "the log has warnings"
echo "manager: gramd.service under systemd: $attempts clients during $((stops + 1)) stops"
