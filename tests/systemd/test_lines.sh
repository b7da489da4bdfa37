#!/bin/bash
# Each line of the installed units, and of the drop-in for MongoDB, under a real systemd (lines.sh). What a line refuses is
# probed with this line alone, and without it. A line that this file does not have fails the test.
# shellcheck source=tests/systemd/lines.sh
. "$SOURCE/tests/systemd/lines.sh"

refused() {
        cat <<-END
		User=gramd | | uid: $(inside id -u gramd)
		Group=gramd | | gid: $(inside id -g gramd)
		LimitNOFILE=524288 | LimitNOFILE=1024 | descriptors: $(least 524288 "$(ulimit -Hn)")
		LimitMEMLOCK=64M | LimitMEMLOCK=1M | locked memory: $(least 67108864 "$(ulimit -Hl)" 1024)
		LimitCORE=0 | LimitCORE=1M | core: 0
		CapabilityBoundingSet= | User=gramd | none to gain: yes
		AmbientCapabilities= | User=gramd;AmbientCapabilities=CAP_CHOWN | none to pass on: yes
		PrivateUsers=no | PrivateUsers=yes | users of others: yes
		ProtectSystem=strict | | write /etc: no
		PrivateTmp=yes | | /tmp of others: ENOMSG
		ProtectHome=yes | User=gramd | read /home: no
		ProtectHome=yes | | /root of others: ENOMSG
		PrivateDevices=yes | | see disks: ENOENT
		DevicePolicy=closed | | make a device: EPERM
		PrivateMounts=yes | | mounts of others: ENOMSG
		ProtectProc=invisible | User=gramd | see others: ENOENT
		ProcSubset=pid | | see the kernel: ENOENT
		PrivateNetwork=yes | | the network of others: ENOMSG
		RestrictAddressFamilies=AF_UNIX | | network socket: EAFNOSUPPORT
		IPAddressDeny=any | | send: EPERM
		SocketBindDeny=any | | bind a port: EPERM
		ProtectKernelTunables=yes | | write /proc: no
		ProtectKernelModules=yes | | remove a module: EPERM
		ProtectKernelLogs=yes | | the kernel's log: EPERM
		ProtectControlGroups=yes | | write control groups: no
		ProtectClock=yes | | the clock: EPERM
		ProtectHostname=yes | | host name: EPERM
		PrivateIPC=yes | | IPC of others: ENOMSG
		SystemCallFilter=@system-service | SystemCallErrorNumber=EPERM | mount: EPERM
		MemoryMax=4G | | memory: 4294967296
		PrivateNetwork=no | PrivateNetwork=yes | the network of others: yes
		RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK | RestrictAddressFamilies=AF_UNIX | network socket: yes
		RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK | RestrictAddressFamilies=AF_UNIX | netlink socket: yes
		IPAddressAllow=any | IPAddressDeny=any | send: yes
		ProcSubset=all | ProcSubset=pid | see the kernel: yes
	END
}

given() {
        cat <<-'END'
		StateDirectory=gramd | stat -c %U.%G /var/lib/gramd | grep -x gramd.gramd
		StateDirectoryMode=0700 | stat -c %a /var/lib/gramd | grep -x 700
		RuntimeDirectory=gramd | stat -c %U.%G /run/gramd | grep -x gramd.gramd
		RuntimeDirectoryMode=0755 | stat -c %a /run/gramd | grep -x 755
		DirectoryMode=0755 | stat -c %a /run/gramd | grep -x 755
		ListenStream=/run/gramd/gramd.sock | test -S /run/gramd/gramd.sock
		SocketUser=gramd | stat -c %U /run/gramd/gramd.sock | grep -x gramd
		SocketGroup=gramd | stat -c %G /run/gramd/gramd.sock | grep -x gramd
		SocketMode=0660 | stat -c %a /run/gramd/gramd.sock | grep -x 660
		RuntimeDirectoryPreserve=yes | systemctl stop gramd.socket gramd.service && test -d /run/gramd
	END
}

elsewhere() {
        cat <<-'END'
		Type=notify | test_manager.sh
		ExecReload=/bin/sh -c "kill -HUP $MAINPID" | test_manager.sh
		WatchdogSec=30 | test_manager.sh
		Restart=on-failure | test_manager.sh
		KeyringMode=private | below
		RemoveIPC=yes | below
	END
}

not_probed() {
        cat <<-'END'
		LogRateLimitIntervalSec=0 | there is no journal here
	END
        inside sh -c 'mkdir -p /run/first/probe && cd /run/first/probe && probe probe' | grep -qx 'another architecture: yes' ||
                echo "SystemCallArchitectures=native | programs of another architecture do not run here"
        case $(systemctl --version) in
        *+BPF_FRAMEWORK*) ;;
        *) echo "SocketBindDeny=any | this systemd has no BPF framework" ;;
        esac
        grep -qw memory "$group/cgroup.controllers" || echo "MemoryMax=4G | the control groups (version 2) have no memory controller here"
}

# $1, or the limit $2 of this container, in units of $3, which root may not raise.
least() {
        if [ "$2" != unlimited ] && [ $(($2 * ${3:-1})) -lt "$1" ]; then
                echo $(($2 * ${3:-1}))
        else
                echo "$1"
        fi
}

manager() {
        inside systemctl "$@"
}

machine_start
systemd=installed/usr/local/lib/systemd/system
units=/run/units
check_lines $systemd/gramd.service $systemd/gramd.socket installed/usr/local/share/doc/gramd/mongodb.conf
probe_lines 40

# ---- what a service leaves behind, and what it shares with others ----

# In a namespace of its own for IPC there would be nothing to remove.
probe_unit memory "User=gramd" segment
probe_unit memory-removed "User=gramd;RemoveIPC=yes" segment
probe_unit keys-first KeyringMode=inherit keyring
probe_unit keys-second KeyringMode=inherit keyring
probe_unit keys-private KeyringMode=private keyring
inside systemctl daemon-reload
for name in memory-removed keys-first keys-second keys-private memory; do
        inside systemctl start "probe-$name.service" || fail "$name"
        inside systemctl show "probe-$name.service" >/dev/null # answered when systemd has removed what it removes
        [ $name != memory-removed ] || ! inside ipcs -m | grep gramd || fail "RemoveIPC=yes removes no memory"
done
inside ipcs -m | grep -q gramd || fail "memory is removed without RemoveIPC=yes"
[ -s machine/probes/keys-first ] || fail "there is no keyring"
cmp machine/probes/keys-first machine/probes/keys-second || fail "KeyringMode=inherit is not what is inherited"
! cmp -s machine/probes/keys-first machine/probes/keys-private || fail "KeyringMode=private is not private"

# ---- what the lines give ----

inside systemctl start gramd.socket gramd.service || fail "start"
pid=$(property MainPID)
check_given LC_ALL=C
