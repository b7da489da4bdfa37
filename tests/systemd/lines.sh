#!/bin/bash
# Lines of a unit, each tried alone under a real systemd, for scripts that include this file. The script has functions that
# print its tables, with a column for LINE first. The rows for both units, the system's and the user's, are here, in all_*():
#   refused     LINE | lines before it, with `;` between them | what the probe (tests/support/probe.c) says with LINE, but not
#               without it. Where LINE is systemd's own default, the lines before it say the contrary.
#   given       LINE | what it gives the daemon, as a command
#   elsewhere   LINE | the test that has it
#   not_probed  LINE | why
# and `manager`, which runs systemctl with its arguments. $units is the folder of the manager's units, in the machine.
# shellcheck disable=SC2154 # set by the script
# shellcheck source=tests/systemd/machine.sh
. "$SOURCE/tests/systemd/machine.sh"

all_refused() {
        cat <<-'END'
		UMask=0077 | UMask=0022 | mask: 77
		NoNewPrivileges=yes | | no new privileges: yes
		RestrictSUIDSGID=yes | | set-uid file: EPERM
		RestrictNamespaces=yes | | namespace: EPERM
		RestrictRealtime=yes | | realtime: EPERM
		LockPersonality=yes | | personality: EPERM
		SystemCallArchitectures=native | | another architecture: EINTR
		MemoryDenyWriteExecute=yes | | new code: EPERM
		MemoryDenyWriteExecute=yes | | written code: EPERM
		SystemCallFilter=~@privileged @resources | SystemCallErrorNumber=EPERM | batch: EPERM
		SystemCallFilter=sched_setaffinity setpriority | SystemCallFilter=@system-service;SystemCallFilter=~@resources;SystemCallErrorNumber=EPERM | lower priority: yes
		SystemCallErrorNumber=EPERM | SystemCallFilter=~chmod | set-uid file: EPERM
	END
        refused
}

all_given() {
        cat <<-'END'
		Environment=MONGOC_DISABLE_SHM=1 | tr '\0' '\n' </proc/$PID/environ | grep -x MONGOC_DISABLE_SHM=1
		ExecStart=/usr/local/bin/gramd | readlink /proc/$PID/exe | grep -x /usr/local/bin/gramd
	END
        given # the last of its commands may stop the daemon
}

all_not_probed() {
        cat <<-'END'
		NotifyAccess=main | it is the default of Type=notify
		TimeoutStopSec=90 | it would take 90 seconds
	END
        not_probed
}

# Of a table. $1: g, if the last column has no `|`.
columns() {
        sed "s/ *| */|/${1:-}"
}

# All lines of these units are in one of the tables.
check_lines() {
        sed -n '/^\[\(Service\|Socket\)\]$/,/^\[Install\]$/ { /^[A-Z]/p }' "$@" | sort -u >lines
        all_not_probed >reasons
        { all_refused && all_given && elsewhere && cat reasons; } | columns | cut -d '|' -f 1 | sort -u >known
        diff lines known || fail "these lines are not probed, or are not those of the units"
        while IFS= read -r line; do echo "$(basename "$0"): not probed: $line"; done <reasons
}

# $1: its name; $2: the lines; $3: what the program does.
probe_unit() {
        inside tee "$units/probe-$1.service" >/dev/null <<-END
		[Service]
		Type=oneshot
		RuntimeDirectory=probe
		WorkingDirectory=%t/probe
		ExecStart=/usr/local/bin/probe ${3:-probe}
		StandardOutput=file:/mnt/probes/$1
		${2//;/$'\n'}
	END
}

# $1: the row; $2: with or without.
says() {
        tr ',' '\n' <"machine/probes/$1-$2" | sed 's/^ //' | grep -qxF "${rows[$1]##*|}"
}

# What each line refuses, alone. $1: the number of rows that are probed, at least.
probe_lines() {
        local line others seen i
        mkdir -m 777 machine/probes
        rows=()
        while IFS='|' read -r line others seen; do
                ! columns <reasons | cut -d '|' -f 1 | grep -qxF "$line" || continue
                probe_unit "${#rows[@]}-with" "$others;$line"
                probe_unit "${#rows[@]}-without" "$others"
                rows+=("$line|$seen")
        done < <(all_refused | columns g)
        [ ${#rows[@]} -ge "$1" ] || fail "only ${#rows[@]} rows"
        manager daemon-reload
        for ((i = 0; i < ${#rows[@]}; i++)); do
                manager start "probe-$i-with.service" 2>/dev/null || fail "the probe with ${rows[i]%|*}"
                manager start "probe-$i-without.service" 2>/dev/null || : # may be killed
                says $i with || fail "with ${rows[i]%|*} it is not so: ${rows[i]##*|}"
                ! says $i without || fail "without ${rows[i]%|*} it is so, too: ${rows[i]##*|}"
        done
}

# What the lines give the daemon, which has the number $pid. $1: a further variable of the commands.
check_given() {
        local line test
        while IFS='|' read -r line test; do
                inside env PID="$pid" "$1" sh -c "$test" >/dev/null || fail "$line: not so: $test"
        done < <(all_given | columns)
        echo "$(basename "$0"): ${#rows[@]} rows, and $(all_given | wc -l) that give something"
}
