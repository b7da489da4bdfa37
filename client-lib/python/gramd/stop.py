"""Stops a library's client whose session was lost or is to be left, with a time limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, Optional

from .request import ignore

log = logging.getLogger(__name__)

STOP_TIMEOUT = 2.0
"""Seconds for one step after a loss. Another host may use the key a third of its daemon's term after the
lease has run out: by default 5 s. Two steps must fit: the client's own `stop`, which waits for the handlers
of updates, and then closing its connections."""

LEAVE_TIMEOUT = 30.0
"""Seconds for the client's own `stop` when the session is to be left. The lease is renewed meanwhile, so only
the operator is waiting."""


async def within_limit(step: Awaitable[Any], name: str, limit: Optional[float] = None) -> bool:
    """Whether the step has succeeded within `limit` seconds, by default STOP_TIMEOUT. Otherwise it is
    cancelled, and not waited for."""
    limit = STOP_TIMEOUT if limit is None else limit
    task = asyncio.ensure_future(step)
    try:
        await asyncio.wait([task], timeout=limit)
    finally:
        done = task.done()
        task.cancel()
        ignore(task)
    if not done:
        log.error("session %s: its client has not stopped within %g s", name, limit)
        return False
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is not None:
        log.error("session %s: stopping its client has failed", name, exc_info=error)
    return error is None
