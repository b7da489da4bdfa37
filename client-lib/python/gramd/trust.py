"""Whom this program gives keys to: the uid of the process that listens at the socket. Whoever may write to
the folder of the socket, or is there first, could listen there.

The kernel took the uid when the process began to listen, so it holds for paths and abstract names alike. With
socket activation it is systemd's: root, or the user's own.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from typing import Optional

from .errors import Untrusted

SERVICE_USER = "gramd"

OVERFLOW_UID = 65534

NO_UID = 0xFFFFFFFF
"""As a uid it means that there is none."""

_ucred = struct.Struct("iII")  # pid, uid, gid


def overflow_uid() -> int:
    """What the kernel tells for a uid that has no number in this user namespace."""
    try:
        with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return OVERFLOW_UID


def _service_uid() -> Optional[int]:
    try:
        return pwd.getpwnam(SERVICE_USER).pw_uid
    except KeyError:
        return None


def _named_uid(server_uid: Optional[int]) -> Optional[int]:
    if server_uid is not None:
        return server_uid
    text = os.environ.get("GRAMD_SERVER_UID", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < NO_UID):
        raise Untrusted("GRAMD_SERVER_UID is not a uid, so nobody is trusted")
    return int(text)


def check_server(connected: socket.socket, path: str, server_uid: Optional[int]) -> None:
    """Before a byte is sent. Trusted are root, the program's own effective uid, the user `gramd`, and
    `server_uid`; without that, what $GRAMD_SERVER_UID names. The overflow uid, which stands for every user
    of another user namespace, is trusted only if it is named. Raises `Untrusted`."""
    if not hasattr(socket, "SO_PEERCRED"):  # not Linux
        return
    _, uid, _ = _ucred.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _ucred.size))
    if uid == NO_UID:  # asyncio takes a socket for connected if the listener's queue was full
        raise ConnectionRefusedError("too many programs are connecting")
    own = os.geteuid()
    if uid == 0 or uid == _named_uid(server_uid):
        return
    if uid != overflow_uid() and uid in (own, _service_uid()):
        return
    raise Untrusted(
        f"{path} is the socket of uid {uid}, and uid {own}, this program's, does not trust it; "
        f"GRAMD_SERVER_UID={uid} or server_uid={uid} would"
    )
