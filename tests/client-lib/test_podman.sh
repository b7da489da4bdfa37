#!/bin/bash
# The recipes of SECURITY.md for containers of Podman, whose commands are run as they stand there: containers of a user, and
# of root, that reach a daemon on the host. They have no network, and nothing is fetched: their root is a folder.
# shellcheck disable=SC2016,SC2086 # inner shells expand these
set -euo pipefail

skip() {
        printf '\n*** SKIPPED: containers of Podman: %s ***\n\n' "$*" >&2
        exit 0
}

# In namespaces of its own: mounts, and control groups of version 2 alone, without which Podman starts nothing.
if [ "${1:-}" != inside ]; then
        [ "$(id -u)" = 0 ] || skip "this needs root"
        for program in podman crun newuidmap; do
                command -v $program >/dev/null || skip "there is no $program"
        done
        unshare --mount --cgroup -- true || skip "no namespaces of mounts and control groups are permitted here"
        exec unshare --mount --cgroup -- "$0" inside
fi
# shellcheck source=tests/client-lib/namespaces.sh
. "$SOURCE/tests/client-lib/namespaces.sh"

mount --make-rslave /
mount --make-rshared /
if ! umount -R /sys/fs/cgroup || ! mount -t cgroup2 cgroup2 /sys/fs/cgroup; then
        skip "there are no control groups of version 2"
fi

# The users have names and subordinate numbers, in this test's own /etc.
mkdir etc
mount -t tmpfs -o mode=755 tmpfs etc
mkdir etc/upper etc/work
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$work/etc/upper,workdir=$work/etc/work" /etc
printf 'alice:x:%d:%d::%s/home:/bin/sh\n' $alice $alice "$work" >>/etc/passwd
printf 'alice:x:%d:\nteam:x:%d:\n' $alice $group >>/etc/group
echo alice:100000:65536 | tee /etc/subuid >/etc/subgid
mkdir -p /etc/containers
printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n' >/etc/containers/containers.conf
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/containers/storage"\nrunroot = "%s/containers/run"\n' "$work" "$work" >/etc/containers/storage.conf

# $1: the uid whose it is.
image() {
        install -d -m 755 -o "$1" -g "$1" "image-$1"
        mkdir "image-$1"/{bin,dev,etc,lib,lib64,proc,run,sys,tmp,usr}
        chown -R "$1:$1" "image-$1"
}
image $alice
image 0
install -m 755 "$BUILD/gramctl" gramctl
install -d -m 700 -o $alice -g $alice home runtime

# What every container here gets.
box="--rm --network=none --cgroups=disabled --ulimit=nofile=1024 --ulimit=nproc=1024 -e ASAN_OPTIONS=detect_leaks=0 -v $work/gramctl:/bin/gramctl:ro"
for folder in /usr /lib /lib64; do
        box+=" -v $folder:$folder:ro"
done

groups=--clear-groups
# as_user UID COMMAND...: with what the lines of SECURITY.md have. Podman reads its own folder's name: not one with a mode
# of 0711, as the test's.
as_user() {
        env -C / -i PATH="$PATH" HOME="$work/home" XDG_RUNTIME_DIR="$work/runtime" DIR="$DIR" GRAMD_SOCKET="$GRAMD_SOCKET" \
                BOX="$box" IMAGE="--rootfs $work/image-$1" setpriv --reuid "$1" --regid "$1" $groups -- "${@:2}"
}

# recipe UID LINE: the line stands in SECURITY.md, and works for this user.
recipe() {
        documented "$2"
        says has_auth_key as_user "$1" sh -c "$2"
}

# in_container UID OPTIONS COMMAND...
in_container() {
        as_user "$1" sh -c "podman run \$BOX -v \$DIR:\$DIR:ro -e GRAMD_SOCKET $2 \$IMAGE ${*:3}"
}

# After each command that reaches the daemon: whom it saw. The log is copied into its file by a process of its own.
opens=0
saw() {
        local uid='' end=$((SECONDS + 60))
        opens=$((opens + 1))
        until [ -n "$uid" ] || [ $SECONDS -gt $end ]; do
                uid=$(sed -n 's/.* action="open" .* uid=\([0-9]*\)[ (].*/\1/p' log | sed -n "${opens}p")
        done
        [ "$uid" = "$1" ] || fail "the daemon saw uid $uid, not $1"
}

start "${as_server[@]}"
GRAMD_SERVER_UID=$server says 'set' as $alice gramctl import anna string

# ---- containers of a user ----

named='-e GRAMD_SERVER_UID=65534'
show='gramctl show anna'
# The user is root in them, and their other users are his subordinate numbers.
says "is the socket of uid $overflow" in_container $alice '' "$show"
says "is the socket of uid $overflow" in_container $alice "-e GRAMD_SERVER_UID=$server" "$show"
recipe $alice 'podman run $BOX -v $DIR:$DIR:ro -e GRAMD_SOCKET -e GRAMD_SERVER_UID=65534 $IMAGE gramctl show anna'
saw $alice
says '[denied]' in_container $alice "$named --user 5" "$show"
saw 100004
# Nobody in them can listen at the socket's path.
says 'Read-only file system' in_container $alice "$named" rm -f "$GRAMD_SOCKET"
says 'has_auth_key' in_container $alice "$named" "$show"
saw $alice

# With keep-id the user has his own number, and with userns=host, too, a namespace of his own.
recipe $alice 'podman run $BOX --userns=keep-id -v $DIR:$DIR:ro -e GRAMD_SOCKET -e GRAMD_SERVER_UID=65534 $IMAGE gramctl show anna'
saw $alice
says "is the socket of uid $overflow" in_container $alice "--userns=keep-id -e GRAMD_SERVER_UID=$server" "$show"
says "is the socket of uid $overflow" in_container $alice "--userns=host -e GRAMD_SERVER_UID=$server" "$show"
says 'has_auth_key' in_container $alice "--userns=host $named" "$show"
saw $alice

# The group that may connect.
chgrp $group "$GRAMD_SOCKET"
chmod 660 "$GRAMD_SOCKET"
groups="--groups $group"
says 'cannot connect' in_container $alice "$named" "$show"
recipe $alice 'podman run $BOX --group-add keep-groups -v $DIR:$DIR:ro -e GRAMD_SOCKET -e GRAMD_SERVER_UID=65534 $IMAGE gramctl show anna'
saw $alice
says 'has_auth_key' in_container $alice "$named --group-add keep-groups --userns=keep-id" "$show"
saw $alice
groups=--clear-groups
chmod 666 "$GRAMD_SOCKET"

# ---- containers of root ----

# They have the host's numbers, unless a map is asked for.
says "is the socket of uid $server" in_container 0 '' "$show"
recipe 0 'podman run $BOX --user 61001 -v $DIR:$DIR:ro -e GRAMD_SOCKET -e GRAMD_SERVER_UID=61000 $IMAGE gramctl show anna'
saw $alice
says '[denied]' in_container 0 "--user $bob -e GRAMD_SERVER_UID=$server" "$show"
saw $bob
map="--uidmap 0:$alice:1 --uidmap 999:$server:1 --gidmap 0:$alice:1 --gidmap 999:$server:1"
recipe 0 'podman run $BOX --uidmap 0:61001:1 --uidmap 999:61000:1 -v $DIR:$DIR:ro -e GRAMD_SOCKET -e GRAMD_SERVER_UID=999 $IMAGE gramctl show anna'
saw $alice
says "is the socket of uid 999" in_container 0 "$map $named" "$show"
stop
daemon=
echo "$(basename "$0"): done, with $(podman --version)"
