"""Stops a library's client whose session was lost, with a time limit: another host may use its key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from .request import ignore

log = logging.getLogger(__name__)

STOP_TIMEOUT = 2.0
"""Seconds for one step. Another host may use the key a third of its daemon's term after the lease has run
out: by default 5 s. Two steps must fit: the client's own `stop`, which waits for the handlers of updates, and
then closing its connections."""


async def within_limit(step: Awaitable[Any], name: str) -> bool:
    """Whether the step has succeeded within STOP_TIMEOUT. Otherwise it is cancelled, and not waited for."""
    task = asyncio.ensure_future(step)
    try:
        await asyncio.wait([task], timeout=STOP_TIMEOUT)
    finally:
        done = task.done()
        task.cancel()
        ignore(task)
    if not done:
        log.error("session %s: its client has not stopped within %g s", name, STOP_TIMEOUT)
        return False
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is not None:
        log.error("session %s: stopping its client has failed", name, exc_info=error)
    return error is None
