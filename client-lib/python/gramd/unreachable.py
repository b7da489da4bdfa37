"""Why the daemon cannot be reached, and what to do about it, in words."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Optional

from . import errors, paths
from .paths import SocketPath

HELLO_WAIT = 2.0
"""Seconds. Whoever listens and has not answered `hello` by then is no working daemon."""

START = {
    paths.PARAMETER: "start it with `gramd --socket {path}`, or correct the parameter `socket`",
    paths.ENVIRONMENT: "start it with `gramd --socket {path}`, or correct $GRAMD_SOCKET",
    paths.OWN: "start it with `systemctl --user start gramd`, or name another socket in $GRAMD_SOCKET",
    paths.SYSTEM: "start it with `systemctl start gramd`, or name its socket in $GRAMD_SOCKET",
}


def why(socket: SocketPath, error: Optional[OSError]) -> str:
    """`error` is that of connect(2); without one somebody listens and does not answer `hello`."""
    start = START[socket.origin].format(path=socket.path)
    if error is None:
        reason = "who listens there does not answer: see the daemon's log, or `systemctl status gramd`"
    elif isinstance(error, FileNotFoundError):
        reason = f"{error.strerror}: gramd does not run; {start}"
    elif isinstance(error, ConnectionRefusedError) and error.errno is not None:
        reason = f"{error.strerror}: gramd does not run any more; {start}"
    elif isinstance(error, PermissionError):
        reason = f"{error.strerror}: {_who_may(socket.path)}"
    else:
        reason = str(error)
    return _text(socket, reason)


def refused(socket: SocketPath, error: errors.Error) -> str:
    """The daemon has refused the connection."""
    return _text(socket, str(error))


def _text(socket: SocketPath, reason: str) -> str:
    return f"cannot reach gramd at {socket.path} ({socket.origin}): {reason}"


def _who_may(path: str) -> str:
    """Which directory or socket keeps this program away, and how its user gets in."""
    what = _obstacle(path)
    try:
        status = os.stat(what)
    except OSError:  # it has just changed
        return f"uid {os.geteuid()} may not connect to it"
    kind, bit = ("socket", stat.S_IWGRP) if what == path else ("directory", stat.S_IXGRP)
    user, owner, group = _user(os.geteuid()), _user(status.st_uid), _group(status.st_gid)
    if status.st_gid in (os.getegid(), *os.getgroups()) or not status.st_mode & bit or status.st_gid == 0:
        mode = f"{stat.S_IMODE(status.st_mode):04o} of {owner}:{group}"
        return (
            f"the mode of the {kind} {what}, {mode}, keeps {user} out; run this program as {owner}, change "
            "the mode, or name another socket"
        )
    if status.st_gid in _stored_groups():
        return (
            f"{user} is in the group {group} of the {kind} {what}, but this program was started before; "
            "log in again, or restart what has started it"
        )
    return (
        f"the {kind} {what} is for the group {group}, and {user} is not in it; add him with "
        f"`usermod -aG {group} {user}` and log in again; a service needs `SupplementaryGroups={group}`"
    )


def _obstacle(path: str) -> str:
    effective = os.access in os.supports_effective_ids
    for directory in reversed(Path(path).parents):
        if not os.access(directory, os.X_OK, effective_ids=effective):
            return str(directory)
    return path


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid {gid}"


def _stored_groups() -> list[int]:
    """The user's groups of the next login."""
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        return []
    return os.getgrouplist(user.pw_name, user.pw_gid)
