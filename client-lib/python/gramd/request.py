"""A request from its call to its answer, over as many connections as that takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    from .session import Session

Result = Callable[[Any], Any]


class Request:
    """`on_result` runs the moment the answer is read, before anything that the daemon sent after it is looked
    at, and even where nobody waits any more; what it returns is the result.

    `body_again` replaces `body` when the request is repeated. An internal request belongs to one
    connection."""

    __slots__ = (
        "body",
        "body_again",
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
        session: Optional[Session],
        future: asyncio.Future[Any],
        deadline: float,
        on_result: Optional[Result],
    ) -> None:
        self.id = identifier
        self.method = method
        self.body = body
        self.body_again: Optional[bytes] = None
        self.count = count
        self.session = session
        self.future = future
        self.deadline = deadline
        self.on_result = on_result
        self.internal = False


def forget(future: asyncio.Future[Any]) -> None:
    """Nobody waits for this one: its error is nobody's either."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
