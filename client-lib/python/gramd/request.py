"""A request from its call to its answer, over as many connections as that takes."""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections import deque
from typing import Any, Callable, Optional, Protocol

from . import errors

log = logging.getLogger(__name__)

Result = Callable[[Any], Any]

TRANSIENT = (errors.Unavailable, errors.Storage, errors.Overloaded, errors.TimedOut)
"""What is met no more after a while."""

RETRY = 0.25
"""Seconds until it is tried again."""


class Lane:
    """What the sessions of one name share: the daemon counts the requests in flight for all of them
    together."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.waiting: dict[OnSession, None] = {}  # those that have something to send


class OnSession(Protocol):
    """An open session, as far as its requests and the connection need to know it."""

    handle: Optional[int]
    """On the present connection; `None` while there is none."""

    lane: Lane
    waiting: deque[Request]

    @property
    def ended(self) -> Optional[errors.Error]: ...

    def reopen(self) -> None:
        """There is a new connection."""

    def disconnected(self) -> None:
        """The connection was lost, and the handle with it."""

    def changed(self, what: dict[str, Any]) -> None:
        """The daemon tells what others changed."""

    def end(self, error: errors.Error) -> None:
        """The daemon has ended the handle."""

    def finish(self, error: errors.Error) -> None:
        """The client is closed."""


class Outcome:
    """In the place of a request's future, tells at once what came out: a future takes another turn of the
    event loop for each of its callbacks."""

    __slots__ = ("_done", "_tell", "error", "result")

    def __init__(self, tell: Callable[[Outcome], None]) -> None:
        self._tell = tell
        self._done = False
        self.error: Optional[BaseException] = None
        self.result: Any = None

    def done(self) -> bool:
        return self._done

    def set_result(self, result: Any) -> None:
        self._set(result, None)

    def set_exception(self, error: BaseException) -> None:
        self._set(None, error)

    def _set(self, result: Any, error: Optional[BaseException]) -> None:
        if not self._done:
            self.result, self.error, self._done = result, error, True
            self._tell(self)

    def cancel(self) -> None:
        self.set_exception(asyncio.CancelledError())


class Request:
    """`on_result` runs the moment the answer is read, before anything that the daemon sent after it is looked
    at, and even where nobody waits any more; what it returns is the result.

    `body_again` replaces `body` when the request is repeated on another connection, `body_older` when the
    daemon refuses `body`. An internal request belongs to one connection."""

    __slots__ = (
        "body",
        "body_again",
        "body_older",
        "count",
        "deadline",
        "future",
        "id",
        "internal",
        "method",
        "on_result",
        "session",
    )

    def __init__(
        self,
        identifier: int,
        method: str,
        body: bytes,
        count: int,
        session: Optional[OnSession],
        future: asyncio.Future[Any],
        deadline: float,
        on_result: Optional[Result],
    ) -> None:
        self.id = identifier
        self.method = method
        self.body = body
        self.body_again: Optional[bytes] = None
        self.body_older: Optional[bytes] = None
        self.count = count
        self.session = session
        self.future = future
        self.deadline = deadline
        self.on_result = on_result
        self.internal = False

    def take_older(self) -> bool:
        """Whether the request is worth sending once more, with what older daemons take."""
        if self.body_older is None or self.body == self.body_older or self.future.done():
            return False
        self.body = self.body_older
        return True


def is_transient(done: asyncio.Future[Any]) -> bool:
    return not done.cancelled() and isinstance(done.exception(), TRANSIENT)


def forget(future: asyncio.Future[Any]) -> None:
    """Nobody waits for this one: its error is nobody's either."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())


def weakly(method: Callable[..., None]) -> Callable[..., None]:
    """A bound method as a callback that does not keep its object alive."""
    known = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        alive = known()
        if alive is not None:
            alive(*arguments)

    return call


_telling: set[asyncio.Future[Any]] = set()
"""An event loop does not keep its tasks alive."""


def tell(callback: Callable[[Any], Any], what: Any) -> None:
    """Calls back into the application, whose errors are not the connection's."""
    try:
        outcome = callback(what)
        if inspect.isawaitable(outcome):
            telling = asyncio.ensure_future(outcome)
            _telling.add(telling)
            telling.add_done_callback(_told)
    except Exception:
        log.exception("in %r", callback)


def _told(done: asyncio.Future[Any]) -> None:
    _telling.discard(done)
    if not done.cancelled() and done.exception() is not None:
        log.error("in a callback", exc_info=done.exception())
