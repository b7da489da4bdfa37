#!/bin/bash
# The user's unit under a real systemd --user: each of its lines alone (lines.sh), and the daemon, which only the user reaches.
# shellcheck disable=SC2016 # inner shells expand these
# shellcheck source=tests/systemd/lines.sh
. "$SOURCE/tests/systemd/lines.sh"

alice=61001 bob=61002

refused() {
        cat <<-'END'
		LimitCORE=0 | LimitCORE=4096 | core: 0
		RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK | | packet socket: EAFNOSUPPORT
		RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK | RestrictAddressFamilies=AF_UNIX | network socket: yes
		SystemCallFilter=@system-service | SystemCallErrorNumber=EPERM | trace: EPERM
	END
}

given() {
        cat <<-'END'
		ListenStream=%t/gramd.sock | test -S $XDG_RUNTIME_DIR/gramd.sock
		SocketMode=0600 | stat -c %a $XDG_RUNTIME_DIR/gramd.sock | grep -x 600
	END
}

elsewhere() {
        cat <<-'END'
		Type=notify | below
		ExecReload=/bin/sh -c "kill -HUP $MAINPID" | below
		Restart=on-failure | below
		WatchdogSec=30 | test_manager.sh
	END
}

not_probed() {
        as $alice sh -c 'mkdir -p ~/first/probe && cd ~/first/probe && probe probe' >probed
        grep -qx 'another architecture: yes' probed || echo "SystemCallArchitectures=native | programs of another architecture do not run here"
        grep -qx 'realtime: yes' probed || echo "RestrictRealtime=yes | root may not permit realtime here"
}

# as UID COMMAND...: in the machine, as a user who has logged in.
as() {
        inside setpriv --reuid "$1" --regid "$1" --clear-groups env -i PATH="$PATH" HOME=/var/lib/alice \
                XDG_RUNTIME_DIR=/run/user/$alice "${@:2}"
}

manager() {
        as $alice systemctl --user "$@"
}

# ---- a user who has logged in ----

machine_start
units=/run/user-units
inside sh -c "echo alice:x:$alice:$alice::/var/lib/alice:/bin/sh >>/etc/passwd
        echo alice:x:$alice: >>/etc/group
        mkdir $units && install -d -o $alice -g $alice /var/lib/alice"
for target in basic default sockets shutdown; do
        inside tee $units/$target.target >/dev/null <<<'[Unit]'
done
inside tee /run/units/user.service >/dev/null <<-END
	[Service]
	Type=notify
	User=alice
	Delegate=yes
	RuntimeDirectory=user/$alice
	RuntimeDirectoryMode=0711
	LimitRTPRIO=1
	LimitCORE=1M
	Environment=XDG_RUNTIME_DIR=/run/user/$alice SYSTEMD_UNIT_PATH=$units:/usr/local/lib/systemd/user
	ExecStart=/lib/systemd/systemd --user --unit=basic.target --log-target=null
END
inside systemctl daemon-reload
inside systemctl start user.service || fail "systemd --user"
chmod 711 machine

systemd=installed/usr/local/lib/systemd/user
check_lines $systemd/gramd.service $systemd/gramd.socket
probe_lines 13

# ---- the daemon ----

inside mkdir $units/gramd.service.d
inside tee $units/gramd.service.d/test.conf >/dev/null <<-END
	[Unit]
	StartLimitIntervalSec=0
	[Service]
	StandardError=append:/mnt/gramd.log
	RestartSec=0
END
touch machine/gramd.log
chown $alice machine/gramd.log
manager daemon-reload
manager start gramd.socket
echo "$string" | as $alice gramctl import anna --api-id 1 >/dev/null || fail "import"
pid=$(manager show --property=MainPID --value gramd.service)
check_given "XDG_RUNTIME_DIR=/run/user/$alice"
inside test -f /var/lib/alice/.local/state/gramd/anna.session || fail "the session is not in ~/.local/state/gramd"
! as $bob gramctl ping 2>refused || fail "another user connects"
grep -q 'Permission denied' refused || fail "another user: $(cat refused)"
manager reload gramd.service || fail "reload"
grep -q 'configuration read again' machine/gramd.log || fail "it does not read its configuration again"
manager kill --signal=KILL gramd.service
as $alice gramctl export anna --format telethon | grep -qx "$string" || fail "the session after a kill"
[ "$(manager show --property=NRestarts --value gramd.service)" = 1 ] || fail "it is not started again"
manager restart gramd.service || fail "restart"
as $alice gramctl ping >/dev/null || fail "after a restart"
manager stop gramd.socket gramd.service || fail "stop"
! grep -E ' (warning|error) ' machine/gramd.log || fail "the log has warnings"
