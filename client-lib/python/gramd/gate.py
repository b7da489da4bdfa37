"""A ledger of flood waits in the key-value area of a session: what one process has met, all know."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator
from typing import Any, Optional, Union

from . import errors
from .session import Session

log = logging.getLogger(__name__)

FLOODS = {
    "FloodWait",  # Pyrogram and its forks
    "FloodPremiumWait",
    "FloodTestPhoneWait",
    "SlowmodeWait",
    "TwoFaConfirmWait",
    "TakeoutInitDelay",
    "FloodWaitError",  # Telethon and its forks
    "FloodPremiumWaitError",
    "FloodTestPhoneWaitError",
    "SlowModeWaitError",
    "TakeoutInitDelayError",
}
"""Classes of errors that name seconds to wait, or base classes of these."""


def flood_seconds(error: BaseException) -> Optional[int]:
    """The seconds to wait, if it is a library's flood error."""
    if not any(kind.__name__ in FLOODS for kind in type(error).__mro__):
        return None
    for attribute in ("seconds", "value", "x"):
        seconds = getattr(error, attribute, None)
        if isinstance(seconds, (int, str)) and str(seconds).isdigit():
            return int(seconds)
    return None


class Gate:
    """Keeps the processes on a session from asking Telegram during a flood wait that one of them has met.

    `session` is an open one, with the right to write. The waits are kept there under keys that begin with
    `prefix`, until they are over, also across restarts."""

    def __init__(self, session: Session, *, prefix: str = "gate:") -> None:
        self._session = session
        self._prefix = prefix
        self._sleeping: dict[asyncio.Event, list[str]] = {}
        self._watched = False
        session.listeners.append(self._changed)

    @contextlib.asynccontextmanager
    async def wait(self, method: str, chat: Union[int, str, None] = None) -> AsyncIterator[None]:
        """Waits until `method` may be called (for `chat`). A flood error in the block is noted for the same,
        and raised. A wait that was noted without a chat is one for all chats."""
        await self.passed(method, chat)
        try:
            yield
        except Exception as error:
            seconds = flood_seconds(error)
            if seconds is not None:
                try:
                    await self.note(seconds, method, chat)
                except errors.Error as failure:
                    log.warning("the flood wait of %s is not noted: %s", method, failure)
            raise

    async def passed(self, method: str, chat: Union[int, str, None] = None) -> None:
        """Returns when no wait is known. The daemon is asked each time: a notification may be on its way."""
        if not self._watched:
            self._watched = True
            await self._session.watch()
        keys = self._keys(method, chat)
        woken = asyncio.Event()
        self._sleeping[woken] = keys
        try:
            while True:
                woken.clear()
                left = max(map(_left, await self._session.kv_get(keys)))
                if left <= 0:
                    return
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(woken.wait(), left)
        finally:
            del self._sleeping[woken]

    async def note(self, seconds: int, method: str, chat: Union[int, str, None] = None) -> None:
        """Nobody passes for so many seconds. A longer wait that is noted already stays."""
        if seconds <= 0:
            return
        key = self._keys(method, chat)[-1]
        value = f"{time.time() + seconds:.3f} {seconds}".encode()
        done, [now] = False, await self._session.kv_get([key])
        while not done and _left(now) < seconds:
            done, now = await self._session.kv_swap(key, now, value, math.ceil(seconds))

    async def forget(self, method: str, chat: Union[int, str, None] = None) -> None:
        """Ends a wait early."""
        await self._session.kv_set([[self._keys(method, chat)[-1], None]])

    def _keys(self, method: str, chat: Union[int, str, None]) -> list[str]:
        keys = [self._prefix + method]
        return keys if chat is None else [*keys, f"{keys[0]}:{chat}"]

    def _changed(self, what: dict[str, Any]) -> None:
        keys = what.get("kv") or ()
        for woken, waited in self._sleeping.items():
            if what.get("all") or any(key in keys for key in waited):
                woken.set()


def _left(value: Optional[bytes]) -> float:
    """Seconds. Never more than was noted, whatever the clock is set to."""
    try:
        until, seconds = map(float, (value or b"").split())
    except ValueError:
        return 0.0
    return min(until - time.time(), seconds)
