#!/bin/bash
# A machine with a real systemd, for scripts that include this file. systemd runs as the first process of namespaces of its
# own, and sees stubs of the targets beside gramd's units: nothing else of the machine is started. Its files are overlays in
# memory. Needs root and a control group (version 2) to write to; where these are missing, the script is skipped, and says so.
# Executed, with the folder of the test, this file is that first process.
# shellcheck disable=SC2034 # the scripts use these
set -euo pipefail

fail() {
        echo "$(basename "$0"): $*" >&2
        cat boot.log machine/gramd.log >&2 2>/dev/null || :
        exit 1
}

skip() {
        printf '\n*** SKIPPED: %s, under a real systemd: %s ***\n\n' "$(basename "$0")" "$*" >&2
        exit 0
}

# What sessions are imported from: a session string of Telethon, whose key is 256 times k.
string=1$({ printf '\002\225\232\247\063\001\273'; head -c 256 /dev/zero | tr '\0' k; } | base64 -w 0 | tr '+/' '-_')

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
        for folder in /var/lib /tmp /var/tmp /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
        chmod 755 /var/lib
        # Its messages would go to the machine's console.
        touch /mnt/console
        mount --bind /mnt/console /dev/console
        umount -R /sys/fs/cgroup
        mount -t sysfs -o ro sysfs /sys
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        systemd-sysusers /usr/local/lib/sysusers.d/gramd.conf
        # The leak checker of a sanitizer reads the memory from another process, which the units refuse. By default a
        # sanitizer forbids core files itself.
        mkdir -p /etc/systemd/system.conf.d
        printf '[Manager]\nDefaultEnvironment=ASAN_OPTIONS=detect_leaks=0:disable_coredump=0\n' >/etc/systemd/system.conf.d/test.conf
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
        exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child -- "${BASH_SOURCE[0]}" "$PWD"
}

end() {
        rm -f attempts # ends the loop of clients in test_manager.sh
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

# Starts it, and installs gramd there. Sets $machine and $first: the pids, on this machine, of unshare and of systemd.
machine_start() {
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
}

[ "${BASH_SOURCE[0]}" != "$0" ] || boot "$1"
