"""Waits, known to all processes on a session: by key, until when nobody passes.

They are in the session's key-value area until they are over. While that is out of reach (the daemon is away,
the session has ended), the waits count that this process has met or read, and nobody waits for the daemon.
What is met meanwhile is written when the area is in reach again.

A wrong set-up must be noticed: until the area was read once, only an error that passes, or the loss of the
session, means that it is out of reach. Other errors are raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Optional

from . import errors, limits
from .request import TRANSIENT, ignore, weakly
from .session import Session

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds: longer than a restart of the daemon takes."""

AGAIN = 5.0
"""Seconds until the area is tried again, if the daemon answers that it is out of reach."""

PROBE = "?"
"""Some key. For none the daemon need not ask its backend."""

PASSES = (*TRANSIENT, errors.ProtocolError)
CLOSED = (errors.BadSession, errors.Disconnected)
"""Why a session has ended that this program has closed."""
MISUSE = (errors.BadRequest, errors.TooLarge)
UNWRITABLE = (*MISUSE, errors.Corrupt, errors.Storage)
"""A wait cannot be written, but others may be read."""

Work = Callable[..., Coroutine[Any, Any, None]]


class Ledger:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._begun = False  # the area was read
        self._away = False
        self._read: dict[str, float] = {}  # until when, as `time.monotonic` counts; as the area said last
        self._own: dict[str, float] = {}  # what this process has met, and the area does not have
        self._waiting: set[asyncio.Event] = set()
        self._returning: Optional[asyncio.Future[None]] = None

    async def passed(self, keys: Sequence[str]) -> None:
        """Returns when there is no wait of these keys. The area is asked each time: a notification may be on
        its way."""
        woken = asyncio.Event()

        def changed(what: dict[str, Any]) -> None:
            if what.get("all") or not set(keys).isdisjoint(what.get("kv") or ()):
                woken.set()

        self._waiting.add(woken)
        try:
            while True:
                woken.clear()
                session = self._session
                session.listeners.add(changed)
                try:
                    await self._reach(self._look, keys)
                    known = (self._read, self._own)
                    left = max((_left(waits, key) for waits in known for key in keys), default=0.0)
                    if left <= 0:
                        return
                    timer = asyncio.get_running_loop().call_later(left, woken.set)
                    try:
                        await woken.wait()
                    finally:
                        timer.cancel()
                finally:
                    session.listeners.discard(changed)
        finally:
            self._waiting.discard(woken)

    async def note(self, key: str, seconds: float) -> None:
        """A longer wait that is noted already stays."""
        _put(self._own, key, max(seconds, _left(self._own, key)))
        await self._reach(self._write, key, raises=UNWRITABLE)

    async def forget(self, key: str) -> None:
        self._own.pop(key, None)
        self._read.pop(key, None)
        self._wake()
        await self._session.kv_set([[key, None]])

    async def use(self, session: Session) -> None:
        """From now on the waits are in this session."""
        await self._begin(session)
        self._session = session
        self._in_reach()

    # ---- the area ----

    async def _begin(self, session: Session) -> None:
        await session.watch()
        with contextlib.suppress(errors.Corrupt):
            await session.kv_get([PROBE])  # raises if that is not allowed
        for key in list(self._own):
            with contextlib.suppress(*UNWRITABLE):
                await self._write(session, key)

    async def _look(self, session: Session, keys: Sequence[str]) -> None:
        for first in range(0, len(keys), limits.ROWS):
            some = keys[first : first + limits.ROWS]
            try:
                values = await session.kv_get(some)
            except errors.Corrupt:  # a damaged value is no wait
                for key in some if len(some) > 1 else ():
                    await self._look(session, [key])
                continue
            for key, value in zip(some, values):
                _put(self._read, key, seconds_of(value))

    async def _write(self, session: Session, key: str) -> None:
        until = self._own.get(key, 0.0)
        seconds = math.ceil(until - time.monotonic())
        if seconds > 0:
            value = f"{time.time() + seconds:.3f} {seconds}".encode()
            done, [now] = False, await session.kv_get([key])
            while not done and seconds_of(now) < seconds:
                done, now = await session.kv_swap(key, now, value, seconds)
            _put(self._read, key, seconds_of(now))
        if self._own.get(key) == until:  # else a longer one was met meanwhile
            del self._own[key]

    # ---- out of reach ----

    async def _reach(self, work: Work, *given: Any, raises: tuple[type[errors.Error], ...] = MISUSE) -> None:
        """Does what is to be done in the area if that is in reach. Goes on when the caller is cancelled: a
        wait is to be known to others all the same."""
        if self._away:
            return
        session = self._session
        doing = asyncio.ensure_future(self._do(session, work, *given))
        ignore(doing)
        try:  # before Python 3.12 `wait_for` loses a cancellation that comes together with the end
            await asyncio.wait([doing], timeout=PATIENCE)
            if not doing.done():
                doing.cancel()
                raise errors.TimedOut(f"no answer within {PATIENCE:g} s")
            doing.result()
        except errors.Error as error:
            self._failed(session, error, raises)

    async def _do(self, session: Session, work: Work, *given: Any) -> None:
        if not self._begun:
            await self._begin(session)
            self._in_reach()
        await work(session, *given)

    def _failed(self, session: Session, error: errors.Error, raises: tuple[type[errors.Error], ...]) -> None:
        ended = session.ended
        if self._begun:
            out_of_reach = ended is not None or not isinstance(error, (*raises, errors.Disconnected))
        else:
            out_of_reach = isinstance(error, PASSES) or not (ended is None or isinstance(ended, CLOSED))
        if not out_of_reach:
            raise error
        if self._away or session is not self._session:
            return
        self._away = True
        log.warning(
            "session %s: flood waits of other processes are not known until it is back%s: %s",
            session.name,
            "" if ended is None else ", that is, until `Gate.use` gets another session",
            error,
        )
        if isinstance(error, errors.TimedOut):  # the next attempt waits for the daemon
            self._retry()
        else:
            self._retry_later()

    def _retry(self) -> None:
        if self._away and self._session.ended is None:
            self._returning = asyncio.ensure_future(self._return())

    def _retry_later(self) -> None:
        asyncio.get_running_loop().call_later(AGAIN, weakly(self._retry))

    async def _return(self) -> None:
        session = self._session
        try:
            await self._begin(session)
        except errors.Error as error:
            if not self._begun and not isinstance(error, PASSES):
                self._away = False  # the next one who asks gets the error
        else:
            if session is self._session:
                self._in_reach()
        finally:  # also if somebody cancels all tasks
            if self._away and session is self._session:
                self._retry_later()

    def _in_reach(self) -> None:
        self._begun = True
        if self._away:
            log.warning("session %s: flood waits of other processes are known again", self._session.name)
        self._away = False
        self._wake()

    def _wake(self) -> None:
        for woken in self._waiting:
            woken.set()


def seconds_of(value: Optional[bytes]) -> float:
    """Seconds that are left. Never more than was noted, whatever the clock is set to."""
    try:
        until, seconds = map(float, (value or b"").split())
    except ValueError:
        return 0.0
    left = min(until - time.time(), seconds)
    return left if math.isfinite(left) else 0.0


def _left(waits: dict[str, float], key: str) -> float:
    return waits.get(key, 0.0) - time.monotonic()


def _put(waits: dict[str, float], key: str, seconds: float) -> None:
    waits.pop(key, None)
    if seconds > 0:
        now = time.monotonic()
        for over in [each for each, until in waits.items() if until <= now]:
            del waits[over]
        waits[key] = now + seconds
