"""How a client reaches its daemon. wire_store.py speaks the protocol itself, package_store.py uses the Python package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional, Protocol

SESSIONS = 5

REGISTERS = ("peer:1", "peer:2", "peer:3", "field:user_id", "field:takeout_id", "state:1")
"""What clients read and write: the access hash of a peer, a field of the identity, `pts` of an update state."""


class StoreError(Exception):
    """An error of the daemon, or of the library; `timeout` and `disconnected`: there was no answer; `unsent`: the
    request was not sent."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


Told = Callable[[str, str], None]
"""Called with what a client is told about an open session (ended, leave, lost, disconnected), and the code."""


class Opened(Protocol):
    """An open session."""

    @property
    def fence(self) -> int:
        """The last that the client knows."""

    async def call(self, method: str, *params: Any) -> Any:
        """Raises StoreError."""

    def library_lease(self) -> Optional[int]:
        """Until when the library believes that there is a lease, in nanoseconds. None: there is no library, or no lease
        yet."""


class Store(Protocol):
    """One connection."""

    library: bool

    async def connect(self) -> None:
        """Raises StoreError if there is no daemon."""

    async def open(self, name: str, wait_ms: int, told: Told) -> Opened: ...

    def drop(self) -> None:
        """Leaves the connection, without closing anything in order."""


def read_request(register: str) -> tuple[str, list[Any]]:
    kind, which = register.split(":")
    if kind == "peer":
        return "get_peer_by_id", [int(which)]
    return ("get", [[which]]) if kind == "field" else ("get_states", [[int(which)]])


def read_value(register: str, answer: Any) -> Optional[int]:
    kind = register.split(":")[0]
    value: Optional[int]
    if kind == "field":
        value = answer[0]
    elif kind == "peer":
        value = answer[1]
    else:
        value = answer[0][1] if answer else None
    return value


def write_request(register: str, value: int) -> tuple[str, list[Any]]:
    kind, which = register.split(":")
    if kind == "peer":
        return "update_peers", [[[int(which), value, "user", None, None]]]
    if kind == "field":
        return "set", [{which: value}]
    return "update_states", [[[int(which), value, 0, 0, 0]]]
