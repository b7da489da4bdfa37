"""The lease: until when this host owns a session. After that another host may use the session's key, so the
application is notified."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Optional, Protocol

from . import errors
from .boottime import Timer, Timers, boottime
from .request import RETRY, is_transient, weakly


class Leased(Protocol):
    """What a lease needs to know of its session."""

    handle: Optional[int]
    timeout: float

    @property
    def timers(self) -> Timers: ...

    @property
    def ended(self) -> Optional[errors.Error]: ...

    def is_over(self) -> bool:
        """Also ends the session if its lease has run out."""

    def call_internal(self, method: str, *, on_result: Callable[[Any], Any]) -> asyncio.Future[Any]: ...


FIRST_ANSWER = 5.0
"""Seconds, well below the usual term of 15 s."""


class Lease:
    """Renewed after each third of its term while the session is open. It runs on while the daemon is away and
    while the machine is suspended.

    The daemon has given a lease when it answers `open`, and waits it out before another host gets the
    session. Until the client knows that lease, the session is not without a limit: the lease is over when the
    connection is lost, or FIRST_ANSWER later."""

    def __init__(self, session: Leased) -> None:
        self._session = session
        self._until: Optional[float] = None  # boottime(); None: no limit
        self._unknown = False  # not told yet: `_until` is when to stop waiting for it
        self._timer: Optional[Timer] = None
        self._over: Optional[Callable[[], None]] = None

    def ran_out(self) -> bool:
        return self._until is not None and boottime() >= self._until

    def begin(self, sent: float, ms: Any) -> None:
        """A session with a lease has been opened by an `open` sent at `sent`. The lease, if its answer has
        it, counts from then: a process that was stopped may read the answer when it is over."""
        if isinstance(ms, int):
            if self._until is None or sent + ms / 1000 > self._until:
                self._renewed(sent, ms)
        elif self._until is None:
            self._unknown = True
            self._until = boottime() + FIRST_ANSWER
            self._arm(FIRST_ANSWER)

    def connection_lost(self) -> None:
        """A lease that is not known is over now; others run on."""
        if self._unknown:
            self._unknown = False
            self._until = boottime()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def when_over(self, callback: Callable[[], None]) -> None:
        """Calls `callback` at the end of the lease. For a session that has ended for this client already."""
        self._over = callback
        self._arm_over()

    def _arm_over(self) -> None:
        if self._over is not None and self._until is not None and not self._unknown:
            self.stop()
            self._timer = self._session.timers.call_at(self._until, self._over)

    def renew(self) -> None:
        sent = boottime()
        request = self._session.call_internal("lease", on_result=lambda ms: self._renewed(sent, ms))
        request.add_done_callback(self._check_failure)

    def _renewed(self, sent: float, ms: Optional[int]) -> None:
        self._unknown = False
        if ms is None:
            self._until = None
            self.stop()
        else:
            self._until = sent + ms / 1000
            self._arm(max(ms / 3000, 0.01))
            self._arm_over()

    def _check_failure(self, done: asyncio.Future[Any]) -> None:
        failed = done.cancelled() or done.exception() is not None
        if failed and (self._until is not None or is_transient(done)):
            self._arm(RETRY)

    def _arm(self, delay: float) -> None:
        """Sets the timer, to the end of the lease at the latest."""
        if self._session.ended is not None:
            return
        self.stop()
        when = boottime() + delay
        if self._until is not None:
            when = min(when, self._until)
        self._timer = self._session.timers.call_at(when, weakly(self._on_timer))

    def _on_timer(self) -> None:
        if self._session.is_over():
            return
        if self._session.handle is not None:
            self.renew()
        self._arm(self._session.timeout)  # for the case that no answer comes; an answer sets it again
