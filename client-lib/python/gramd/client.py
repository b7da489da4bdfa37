"""The client of the daemon, with a method for each method of the protocol that needs no session."""

from __future__ import annotations

import decimal
import math
import numbers
from collections.abc import Callable
from typing import Any, Optional, Union

from .caller import Caller
from .session import OnLeave, OnLost, Session


class Client(Caller):
    """A client of the daemon. Connects when it is first used; `close()` it, or use it as a context
    manager."""

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def hello(self) -> dict[str, Any]:
        """The daemon's name, version, limits and features."""
        result: dict[str, Any] = await self._hello()
        return result

    async def ping(self, value: Any = None) -> Any:
        return await self.call("ping", value)

    async def open(
        self,
        name: str,
        *,
        backend: Optional[str] = None,
        create: bool = True,
        mode: str = "shared",
        wait: float = 0,
        dialect: Optional[str] = None,
        linger: Optional[int] = None,
        seal: bool = False,
        cache: Any = None,
        timeout: Optional[float] = None,
        on_lost: Optional[OnLost] = None,
        on_leave: Optional[OnLeave] = None,
    ) -> Session:
        """Opens a session. `wait`: seconds to wait for a session that is busy or unavailable.

        `on_lost` is called with the reason when the session ends and this client has neither closed nor
        deleted it. Whatever uses the session's key must stop then.

        `on_leave` is called with the reason when the daemon hands its sessions over to other hosts. It has
        to stop whatever uses the key, and then to `close` the session, which stays open until then; from the
        close on another host may use the key. Without `on_leave`, or if it raises, the session is lost.

        `cache` is True, or the `Cache` to use. `seal` seals a stored session that nobody has open."""
        if not isinstance(wait, (numbers.Real, decimal.Decimal)) or not math.isfinite(wait):
            raise TypeError(f"`wait` is a number of seconds, not {wait!r}")
        options: dict[str, Any] = {"mode": mode, "wait": int(wait * 1000), "create": create}
        for key, value in (("backend", backend), ("dialect", dialect), ("linger", linger)):
            if value is not None:
                options[key] = value
        if seal:
            options["seal"] = True
        timeout = self.timeout if timeout is None else timeout
        session = Session(self, name, options, cache, timeout, on_lost, on_leave)
        await session.open()
        return session

    async def sessions(
        self, glob: Optional[str] = None, *, after: Optional[str] = None, limit: Optional[int] = None
    ) -> list[dict[str, Any]]:
        options = {key: value for key, value in (("after", after), ("limit", limit)) if value is not None}
        result: list[dict[str, Any]] = await self.call("sessions", glob, options)
        return result

    async def clients(self) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = await self.call("clients")
        return result

    async def disconnect(self, client_id: int) -> None:
        await self.call("disconnect", client_id)

    async def drain(self, on: bool = True) -> None:
        """The daemon hands its sessions on MongoDB over to other hosts, and opens none of them meanwhile."""
        await self.call("drain", on)

    async def stats(self) -> dict[str, Union[int, float]]:
        result: dict[str, Union[int, float]] = await self.call("stats")
        return result

    async def monitor(self, callback: Optional[Callable[[dict[str, Any]], None]]) -> None:
        """Calls `callback` with each request of any client from now on; `None` stops that."""
        self._monitor = callback
        await self.call("monitor", callback is not None)
