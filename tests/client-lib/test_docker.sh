#!/bin/bash
# The recipes of SECURITY.md for containers of Docker, whose commands are run as they stand there. The test has a
# dockerd of its own, without a network: first as it is by default, then with `userns-remap`. Nothing is fetched.
# shellcheck disable=SC2016,SC2086 # inner shells expand these
set -euo pipefail

skip() {
        printf '\n*** SKIPPED: containers of Docker: %s ***\n\n' "$*" >&2
        exit 0
}

# In a mount namespace of its own: /run and /etc are the test's.
if [ "${1:-}" != inside ]; then
        [ "$(id -u)" = 0 ] || skip "this needs root"
        for program in dockerd docker containerd runc; do
                command -v $program >/dev/null || skip "there is no $program"
        done
        exec unshare --mount -- "$0" inside
fi
# shellcheck source=tests/client-lib/namespaces.sh
. "$SOURCE/tests/client-lib/namespaces.sh"

mount --make-rslave /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir etc
mount -t tmpfs -o mode=755 tmpfs etc
mkdir etc/upper etc/work
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$work/etc/upper,workdir=$work/etc/work" /etc
first=200000 # the number on the host of root in the containers
printf 'boxes:x:61003:61003::/:/bin/false\n' >>/etc/passwd
printf 'boxes:x:61003:\n' >>/etc/group
echo boxes:$first:65536 | tee /etc/subuid >/etc/subgid

# ---- dockerd ----

export DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=$work/docker-config
groups=gramd-test-$$
dockerd=

docker_start() { # docker_start OPTIONS...
        local end=$((SECONDS + 60))
        dockerd --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs --data-root "$work/docker" \
                --exec-root /run/docker -p /run/docker.pid -H $DOCKER_HOST --cgroup-parent /$groups "$@" >docker.log 2>&1 &
        dockerd=$!
        until timeout 10 docker version >/dev/null 2>&1; do
                if [ $SECONDS -gt $end ] || ! kill -0 $dockerd 2>/dev/null; then
                        skip "dockerd does not run here: $(tail -n 1 docker.log)"
                fi
        done
        tar -C image -c . | docker import - box >/dev/null
        docker run $box box true >run.log 2>&1 || skip "a container does not run here: $(tail -n 1 run.log)"
}

docker_stop() {
        [ -z "$dockerd" ] && return
        kill $dockerd
        wait $dockerd || true
        dockerd=
}

end() {
        [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
        docker_stop
        find /sys/fs/cgroup -depth -type d -path "*/$groups*" -exec rmdir {} + 2>/dev/null || true
}
trap end EXIT

mkdir -p image/{bin,dev,etc,lib,lib64,proc,run,sys,tmp,usr}
install -m 755 "$BUILD/gramctl" gramctl
install -m 755 "$(type -P true)" image/bin/true
# What every container here gets.
box="--rm --network=none -e ASAN_OPTIONS=detect_leaks=0 -v $work/gramctl:/bin/gramctl:ro"
for folder in /usr /lib /lib64; do
        box+=" -v $folder:$folder:ro"
done
export BOX=$box IMAGE=box

# recipe LINE: the line stands in SECURITY.md, and works.
recipe() {
        documented "$1"
        says has_auth_key sh -c "$1"
}

# in_container OPTIONS COMMAND...
in_container() {
        sh -c "docker run \$BOX -v \$DIR:\$DIR:ro -e GRAMD_SOCKET $1 \$IMAGE ${*:2}"
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

# ---- the host's user namespace ----

docker_start
start "${as_server[@]}"
GRAMD_SERVER_UID=$server says 'set' as $alice gramctl import anna string
show='gramctl show anna'
named="-e GRAMD_SERVER_UID=$server"

says "is the socket of uid $server" in_container "--user $alice:$alice" "$show"
recipe 'docker run $BOX --user 61001:61001 -v $DIR:$DIR:ro -e GRAMD_SOCKET -e GRAMD_SERVER_UID=61000 $IMAGE gramctl show anna'
saw $alice
says '[denied]' in_container "$named --user $bob:$bob" "$show"
saw $bob
says has_auth_key in_container "$named" "$show" # root in the container is root
saw 0
says 'Read-only file system' in_container "$named" rm -f "$GRAMD_SOCKET"

# The group that may connect.
chgrp $group "$GRAMD_SOCKET"
chmod 660 "$GRAMD_SOCKET"
says 'cannot connect' in_container "$named --user $alice:$alice" "$show"
recipe 'docker run $BOX --user 61001:61001 --group-add 61010 -v $DIR:$DIR:ro -e GRAMD_SOCKET -e GRAMD_SERVER_UID=61000 $IMAGE gramctl show anna'
saw $alice
chmod 666 "$GRAMD_SOCKET"
docker_stop

# ---- userns-remap ----

docker_start --userns-remap boxes
named="-e GRAMD_SERVER_UID=$overflow"
says "is the socket of uid $overflow" in_container '' "$show"
says "is the socket of uid $overflow" in_container "-e GRAMD_SERVER_UID=$server" "$show"
says '[denied]' in_container "$named" "$show" # root in the container is nobody here
saw $first
says '[denied]' in_container "$named --user $alice:$alice" "$show"
saw $((first + alice))
as $server gramctl chown "#$((first + 5))" anna >/dev/null
saw $server
recipe 'docker run $BOX --user 5:5 -v $DIR:$DIR:ro -e GRAMD_SOCKET -e GRAMD_SERVER_UID=65534 $IMAGE gramctl show anna'
saw $((first + 5))
says 'Read-only file system' in_container "$named" rm -f "$GRAMD_SOCKET"
as $server gramctl chown "#$alice" anna >/dev/null
saw $server
recipe 'docker run $BOX --userns=host --user 61001:61001 -v $DIR:$DIR:ro -e GRAMD_SOCKET -e GRAMD_SERVER_UID=61000 $IMAGE gramctl show anna'
saw $alice
version=$(docker version --format '{{.Server.Version}}')
stop
daemon=
echo "$(basename "$0"): done, with Docker $version"
