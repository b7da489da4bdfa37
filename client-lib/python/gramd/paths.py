"""Where the daemon's socket is."""

from __future__ import annotations

import os
from typing import Optional, Union

SYSTEM_SOCKET = "/run/gramd/gramd.sock"


def socket_path(explicit: Optional[Union[str, os.PathLike[str]]] = None) -> str:
    """The socket given, `$GRAMD_SOCKET`, the user's own daemon's if it is there, else the system's."""
    if explicit:
        return os.path.abspath(os.fspath(explicit))
    if named := os.environ.get("GRAMD_SOCKET"):
        return os.path.abspath(named)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        own = os.path.join(runtime, "gramd.sock")
        if os.path.exists(own):
            return own
    return SYSTEM_SOCKET
