"""Stopping a client whose session was lost: its key may be in use elsewhere, so it is not let hang."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from .request import forget

log = logging.getLogger(__name__)

STOP_TIMEOUT = 2.0
"""After a lease has run out, another host may use the key a third of its daemon's term later, by default 5 s.
Until then the client's own way, which waits for the handlers of updates, and cutting its connections have to
be over."""


async def ended(step: Awaitable[Any], name: str) -> bool:
    """Whether that step came to its end in time. One that did not is cancelled, and not waited for."""
    task = asyncio.ensure_future(step)
    try:
        await asyncio.wait([task], timeout=STOP_TIMEOUT)
    finally:
        done = task.done()
        task.cancel()
        forget(task)
    if not done:
        log.error("session %s: its client does not stop within %g s", name, STOP_TIMEOUT)
        return False
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is not None:
        log.error("session %s: stopping its client", name, exc_info=error)
    return error is None
