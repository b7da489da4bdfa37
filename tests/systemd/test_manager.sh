#!/bin/bash
# The installed units under a real systemd. It runs as the first process of namespaces of its own, and sees stubs of the
# targets beside gramd's units: nothing else of the machine is started. Its files are overlays in memory. Needs root and a
# control group (version 2) to write to; where these are missing, the test says so and is skipped.
set -euo pipefail

fail() {
        echo "manager: $*" >&2
        cat boot.log machine/gramd.log >&2 2>/dev/null || :
        exit 1
}

skip() {
        printf '\n*** SKIPPED: the units under a real systemd: %s ***\n\n' "$*" >&2
        exit 0
}

# ---- the machine ----

# In the new namespaces: becomes systemd. $1: the folder of the test.
boot() {
        mount --make-rslave /
        mount --make-rshared / # systemd mounts credentials in a process of its own
        mount -t proc proc /proc
        mount --bind /proc/sys /proc/sys
        mount -o remount,bind,ro /proc/sys
        mount --bind "$1/installed/usr/local" /usr/local
        mount --rbind "$1/machine" /mnt
        mount -t tmpfs -o mode=755 tmpfs /run
        mkdir /run/upper /run/work
        mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work /etc
        mkdir -p /etc/gramd
        echo 0123456789abcdef0123456789abcdef >/etc/machine-id
        for folder in /var/lib /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
        chmod 755 /var/lib
        # Its messages would go to the machine's console.
        touch /mnt/console
        mount --bind /mnt/console /dev/console
        umount -R /sys/fs/cgroup
        mount -t sysfs -o ro sysfs /sys
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        systemd-sysusers /usr/local/lib/sysusers.d/gramd.conf
        # The leak checker of a sanitizer reads the memory from another process, which the units refuse.
        mkdir -p /etc/systemd/system.conf.d
        printf '[Manager]\nDefaultEnvironment=ASAN_OPTIONS=detect_leaks=0\n' >/etc/systemd/system.conf.d/test.conf
        mkdir /run/units
        for target in sysinit basic sockets shutdown network network-online nss-lookup multi-user; do
                printf '[Unit]\nDescription=%s\n' $target >/run/units/$target.target
        done
        echo 'Wants=booted.service' >>/run/units/basic.target
        printf '[Service]\nExecStart=/bin/sh -c "echo booted >/mnt/booted"\n' >/run/units/booted.service
        exec env -i PATH="$PATH" container=gramd-test SYSTEMD_UNIT_PATH=/run/units:/usr/local/lib/systemd/system \
                /lib/systemd/systemd --system --unit=basic.target --log-target=null
}

# In a shell of its own, so that all processes are in a control group of the machine's.
start_in_group() {
        echo "$BASHPID" >"$1/cgroup.procs"
        exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child -- "$0" boot "$PWD"
}

end() {
        rm -f attempts
        # When its first process has ended, all have.
        [ -z "${machine:-}" ] || kill -KILL "${first:-$machine}" 2>/dev/null || :
        wait 2>/dev/null
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || :
}

inside() {
        nsenter --target "$first" --mount --pid --net --uts --ipc --cgroup -- "$@"
}

property() {
        inside systemctl show --property="$1" --value gramd.service
}

[ "${1:-}" != boot ] || boot "$2"

[ "$(id -u)" = 0 ] || skip "this needs root"
groups=$(findmnt --noheadings --first-only --type cgroup2 --output TARGET) || skip "there are no control groups of version 2"
group=$groups/gramd-test.$$
mkdir "$group" 2>/dev/null || skip "$groups cannot be written to"
trap end EXIT
unshare --mount --pid --net --uts --ipc --cgroup --fork sh -c 'mount -t proc proc /proc && umount -R /sys/fs/cgroup &&
        mount -t sysfs sysfs /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup' 2>/dev/null || skip "namespaces cannot be made"

chmod 755 .
mkdir machine
mkfifo machine/booted
flock "$BUILD/install.lock" make -C "$SOURCE" install DESTDIR="$PWD/installed" PREFIX=/usr/local >/dev/null
cp "$BUILD/tests/systemd/test_sandbox" installed/usr/local/bin/probe
start_in_group "$group" >boot.log 2>&1 &
machine=$!
read -rt 60 _ <>machine/booted || fail "systemd does not start"
read -r first <"/proc/$machine/task/$machine/children" || : # no newline

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
diff expected machine/probe || fail "tests/support/sandbox and systemd differ"

# ---- the service ----

# $1: further lines of [Service].
configure() {
        inside mkdir -p /run/units/gramd.service.d
        printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nStandardError=append:/mnt/gramd.log\n%s\n' "${1:-}" |
                inside tee /run/units/gramd.service.d/test.conf >/dev/null
        inside systemctl daemon-reload
}

logged() {
        grep -q "$1" machine/gramd.log || fail "the log does not say: $1"
}

key=$({ printf '\002\225\232\247\063\001\273'; head -c 256 /dev/zero | tr '\0' k; } | base64 -w 0 | tr '+/' '-_')
configure
inside systemctl start gramd.socket || fail "the socket"
[ "$(property ActiveState)" = inactive ] || fail "it runs before a client has connected"
inside gramctl ping >/dev/null || fail "the first client does not start it"
[ "$(property ActiveState)" = active ] || fail "it does not run"
echo "1$key" | inside gramctl import anna --api-id 1 >/dev/null || fail "import"

inside systemctl reload gramd.service || fail "reload"
logged 'configuration read again'

# Clients that come all the time, while it is stopped and started. systemctl returns when it is.
: >attempts
: >pings
while [ -e attempts ]; do
        inside gramctl ping >>pings 2>>refused || :
done &
pings=$!
stops=0
until [ -s refused ] || [ "$(wc -l <pings)" -ge 20 ]; do
        inside systemctl restart gramd.service || fail "restart"
        stops=$((stops + 1))
done
inside systemctl stop gramd.service 2>/dev/null || fail "stop"
inside gramctl ping >/dev/null || fail "a client does not start it again"
rm attempts
wait "$pings"
[ ! -s refused ] || fail "not all clients were served: $(cat refused)"

# As gramd.conf(5) says it. (--with-key=host: on a file system in memory, systemd would not choose this key by itself.)
encrypt='systemd-creds encrypt --with-key=host --name=gramd.key -'
credential='LoadCredentialEncrypted=gramd.key:/etc/gramd/gramd.cred'
inside sh -c "gramctl key new - | $encrypt /etc/gramd/gramd.cred" 2>creds || fail "systemd-creds: $(cat creds)"
configure "$credential"
inside systemctl restart gramd.service || fail "restart with a credential"
logged 'sessions are sealed with key .* former keys: 0'
inside gramctl seal --all >/dev/null || fail "seal"
inside gramctl export anna --format telethon | grep -qx "1$key" || fail "the sealed key is not what was imported"
! inside grep -q kkkkkkkk /var/lib/gramd/anna.session || fail "the key is in the file"
inside sh -c "{ gramctl key new -; systemd-creds decrypt --name=gramd.key /etc/gramd/gramd.cred -; } |
        $encrypt /etc/gramd/new.cred && mv /etc/gramd/new.cred /etc/gramd/gramd.cred" 2>creds ||
        fail "a new key: $(cat creds)"
inside systemctl reload gramd.service || fail "reload with a new key"
! grep -q 'former keys: 1' machine/gramd.log || fail "a reload reads credentials again: gramd.conf(5) says that it does not"
inside systemctl restart gramd.service || fail "restart with a new key"
logged 'sessions are sealed with key .* former keys: 1'
inside gramctl rotate --all >rotated || fail "rotate: $(cat rotated)"
inside gramctl export anna --format telethon | grep -qx "1$key" || fail "the rotated key is not what was imported"

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
echo "manager: gramd.service under systemd: $(wc -l <pings) clients during $((stops + 1)) stops"
