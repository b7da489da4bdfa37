"""Until when this host owns a session: from then on another may use its key, so the application is told."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Callable, Optional, Protocol

from . import errors
from .request import RETRY, is_transient, weakly


def boottime() -> float:
    """Seconds, those included in which the machine slept: a lease runs on meanwhile."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Leased(Protocol):
    """The session, as far as its lease needs to know it."""

    handle: Optional[int]
    timeout: float

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def ended(self) -> Optional[errors.Error]: ...

    def is_over(self) -> bool:
        """Also ends the session where its lease has run out."""

    def ask(self, method: str, *, on_result: Callable[[Any], Any]) -> asyncio.Future[Any]: ...


class Lease:
    """Asked again every third of it, while the session is open. It runs on while the daemon is away."""

    def __init__(self, session: Leased) -> None:
        self._session = session
        self._until: Optional[float] = None  # None: there is no limit, or it is not known yet
        self._timer: Optional[asyncio.TimerHandle] = None

    def ran_out(self) -> bool:
        return self._until is not None and boottime() >= self._until

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def ask(self) -> None:
        sent = boottime()
        asked = self._session.ask("lease", on_result=lambda ms: self._told(sent, ms))
        asked.add_done_callback(self._asked)

    def _told(self, sent: float, ms: Optional[int]) -> None:
        if ms is None:
            self._until = None
            self.stop()
        else:
            self._until = sent + ms / 1000
            self._again(max(ms / 3000, 0.01))

    def _asked(self, asked: asyncio.Future[Any]) -> None:
        failed = asked.cancelled() or asked.exception() is not None
        if failed and (self._until is not None or is_transient(asked)):
            self._again(RETRY)

    def _again(self, delay: float) -> None:
        """At the latest when it runs out."""
        if self._session.ended is not None:
            return
        self.stop()
        if self._until is not None:
            delay = min(delay, max(0.0, self._until - boottime()))
        self._timer = self._session.loop.call_later(delay, weakly(self._due))

    def _due(self) -> None:
        if self._session.is_over():
            return
        if self._session.handle is not None:
            self.ask()
        self._again(self._session.timeout)  # the answer sets it anew
