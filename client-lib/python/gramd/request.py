"""A request, from its call to its answer. A lost connection may make it use several connections."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import weakref
from collections import deque
from typing import Any, Callable, Optional, Protocol

from . import errors

log = logging.getLogger(__name__)

Result = Callable[[Any], Any]

TRANSIENT = (errors.Unavailable, errors.Storage, errors.Overloaded, errors.TimedOut)
"""Errors that pass: the request is worth retrying."""

RETRY = 0.25
"""Seconds until a retry."""


class Lane:
    """The requests of this client on one session name. The daemon limits how many of them may be unanswered,
    counting all handles on the session together."""

    def __init__(self) -> None:
        self.in_flight = 0  # sent, but not answered
        self.blocked: dict[OnSession, None] = {}  # handles with unsent requests


class OnSession(Protocol):
    """What `Request` and `Caller` need to know of a session."""

    handle: Optional[int]
    """Valid on the present connection; `None` while there is none."""

    lane: Lane
    unsent: deque[Request]

    @property
    def ended(self) -> Optional[errors.Error]: ...

    def reopen(self) -> None:
        """There is a new connection."""

    def disconnected(self) -> None:
        """The connection was lost, and the handle with it."""

    def changed(self, what: dict[str, Any]) -> None:
        """The daemon sent `changed`."""

    def leave(self, reason: str) -> None:
        """The daemon sent `leave`."""

    def end(self, error: errors.Error) -> None:
        """The daemon has ended the handle."""

    def finish(self, error: errors.Error) -> None:
        """The client is closed."""


class Outcome:
    """Takes the place of a request's future and calls `callback` at once. The callbacks of a future run in
    the next turn of the event loop."""

    __slots__ = ("_callback", "_done", "error", "result")

    def __init__(self, callback: Callable[[Outcome], None]) -> None:
        self._callback = callback
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
            self._callback(self)

    def cancel(self) -> None:
        self.set_exception(asyncio.CancelledError())


class Request:
    """`on_result` runs as soon as the answer is read, before the message that follows it is handled, and also
    if the future was cancelled. Its return value is the result.

    `body_again` replaces `body` on another connection, `body_older` replaces it if the daemon answers
    `bad_request`. An internal request is not repeated on another connection."""

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
        self.count = count  # of the parameters in `body`
        self.session = session
        self.future = future
        self.deadline = deadline
        self.on_result = on_result
        self.internal = False

    def take_older(self) -> bool:
        """Replaces `body` by `body_older`. False if there is none, or it was refused too."""
        if self.body_older is None or self.body == self.body_older or self.future.done():
            return False
        self.body = self.body_older
        return True


def is_transient(done: asyncio.Future[Any]) -> bool:
    return not done.cancelled() and isinstance(done.exception(), TRANSIENT)


def ignore(future: asyncio.Future[Any]) -> None:
    """Keeps asyncio from logging an exception that nobody retrieves."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())


def weakly(method: Callable[..., None]) -> Callable[..., None]:
    """A bound method as a callback that does not keep its object alive."""
    known = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        alive = known()
        if alive is not None:
            alive(*arguments)

    return call


def with_reason(callback: Optional[Callable[..., Any]]) -> Optional[Callable[..., Any]]:
    """Wraps a callback that takes no argument, such as `event.set`, so that it can be called with the
    reason."""
    if callback is None:
        return None
    try:
        inspect.signature(callback).bind(None)
    except TypeError:
        return lambda _reason: callback()
    except ValueError:  # a builtin without a signature
        pass
    return callback


_running: set[asyncio.Future[Any]] = set()
"""References to tasks: an event loop does not keep its tasks alive."""


def run_callback(
    callback: Callable[[Any], Any], argument: Any, finished: Optional[Callable[[bool], None]] = None
) -> None:
    """Calls a function or coroutine function of the application. Its errors are logged: they must not end the
    connection. `finished` is called afterwards, with whether it succeeded, unless it was cancelled."""
    try:
        result = callback(argument)
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(result)
            _running.add(task)
            task.add_done_callback(functools.partial(_callback_done, finished))
            return
        succeeded = True
    except Exception:
        log.exception("error in the callback %r", callback)
        succeeded = False
    if finished is not None:
        finished(succeeded)


def _callback_done(finished: Optional[Callable[[bool], None]], done: asyncio.Future[Any]) -> None:
    _running.discard(done)
    if done.cancelled():
        return
    error = done.exception()
    if error is not None:
        log.error("error in a callback", exc_info=error)
    if finished is not None:
        finished(error is None)
