"""The path of the daemon's socket, and who named it."""

from __future__ import annotations

import os
from typing import NamedTuple, Union

SYSTEM_SOCKET = "/run/gramd/gramd.sock"

PARAMETER = "the parameter `socket`"
ENVIRONMENT = "$GRAMD_SOCKET"
OWN = "$XDG_RUNTIME_DIR/gramd.sock"
SYSTEM = "the default"


class SocketPath(NamedTuple):
    path: str
    origin: str  # one of the texts above


def find_socket(named: Union[str, os.PathLike[str], SocketPath, None] = None) -> SocketPath:
    """`named` if given, else `$GRAMD_SOCKET`, else the socket of the user's own daemon if it exists, else the
    system's."""
    if isinstance(named, SocketPath):
        return named
    if named:
        return SocketPath(os.path.abspath(os.fspath(named)), PARAMETER)
    if path := os.environ.get("GRAMD_SOCKET"):
        return SocketPath(os.path.abspath(path), ENVIRONMENT)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        own = os.path.join(runtime, "gramd.sock")
        if os.path.exists(own):
            return SocketPath(own, OWN)
    return SocketPath(SYSTEM_SOCKET, SYSTEM)
