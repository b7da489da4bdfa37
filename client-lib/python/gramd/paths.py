"""The path of the daemon's socket."""

from __future__ import annotations

import os
from typing import Optional, Union

SYSTEM_SOCKET = "/run/gramd/gramd.sock"


def socket_path(explicit: Optional[Union[str, os.PathLike[str]]] = None) -> str:
    """`explicit` if given, else `$GRAMD_SOCKET`, else the socket of the user's own daemon if it exists, else
    the system's."""
    if explicit:
        return os.path.abspath(os.fspath(explicit))
    if named := os.environ.get("GRAMD_SOCKET"):
        return os.path.abspath(named)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        own = os.path.join(runtime, "gramd.sock")
        if os.path.exists(own):
            return own
    return SYSTEM_SOCKET
