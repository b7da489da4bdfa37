"""What the storages for all libraries have in common: the parameters."""

from __future__ import annotations

import os
from typing import Optional, Union

from .request import with_reason
from .session import OnLeave, OnLost
from .stored import Stored


class Adapter:
    """The base class of the storages. `name` is the session's. The README describes the other parameters."""

    def __init__(
        self,
        name: str,
        *,
        socket: Optional[Union[str, os.PathLike[str]]] = None,
        backend: Optional[str] = None,
        mode: str = "shared",
        wait: float = 0,
        session_string: Optional[str] = None,
        cache: bool = True,
        timeout: float = 30,
        on_lost: Optional[OnLost] = None,
        on_leave: Optional[OnLeave] = None,
        server_uid: Optional[int] = None,
        workdir: Union[str, os.PathLike[str], None] = None,
        linger: Optional[int] = None,
        remove_peers: bool = True,
        dc_keys: bool = True,
        display_names: bool = True,
    ) -> None:
        self._stored = Stored(
            name,
            workdir,
            socket,
            backend,
            mode,
            wait,
            session_string,
            timeout,
            server_uid,
            linger,
            remove_peers,
        )
        self.name = self._stored.name
        self._cached = cache
        self._dc_keys = dc_keys
        self._display_names = display_names
        self._on_lost: Optional[OnLost] = with_reason(on_lost)
        self._on_leave: Optional[OnLeave] = with_reason(on_leave)
        self._begin()

    def _begin(self) -> None:
        """Completes a new object. Subclasses have this instead of a constructor: that would repeat the
        parameters."""
