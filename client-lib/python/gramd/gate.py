"""A ledger of flood waits in the key-value area of a session: all its processes know what one has met."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Optional, Union

from . import errors
from .flood import asked, flood_seconds, is_slow_mode
from .session import Session

log = logging.getLogger(__name__)


class Gate:
    """Keeps the processes on a session from asking Telegram during a flood wait that one of them has met.

    `session` is an open one, with the right to write. The waits are kept there under keys that begin with
    `prefix`, until they are over, also across restarts."""

    def __init__(self, session: Session, *, prefix: str = "gate:") -> None:
        self._session = session
        self._prefix = prefix
        self._watched = False

    @contextlib.asynccontextmanager
    async def wait(self, method: str, chat: Union[int, str, None] = None) -> AsyncIterator[None]:
        """Waits until `method` may be called (for `chat`). A flood error in the block is noted for the same,
        and raised. A wait that was noted without a chat is one for all chats."""
        await self.passed(method, chat)
        try:
            yield
        except Exception as error:
            await self._note_error(error, method, chat)
            raise

    async def passed(self, method: str, chat: Union[int, str, None] = None) -> None:
        """Returns when no wait is known. The daemon is asked each time: a notification may be on its way."""
        if not self._watched:
            await self._session.watch()
            self._watched = True
        keys = self._keys(method, chat)
        woken = asyncio.Event()

        def changed(what: dict[str, Any]) -> None:
            if what.get("all") or not set(keys).isdisjoint(what.get("kv") or ()):
                woken.set()

        self._session.listeners.add(changed)
        try:
            while True:
                woken.clear()
                left = max(map(_left, await self._session.kv_get(keys)))
                if left <= 0:
                    return
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(woken.wait(), left)
        finally:
            self._session.listeners.discard(changed)

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

    def guard(self, client: Any) -> None:
        """From now on each request of a library's Client goes through this gate. The gate also sleeps through
        the waits through which the library slept by itself (`sleep_threshold`). A wait is noted for all
        chats, a slow mode for its chat."""
        if hasattr(client, "flood_sleep_threshold"):  # Telethon's
            call, threshold = client._call, client.flood_sleep_threshold
            client.flood_sleep_threshold = 0

            async def guarded(sender: Any, request: Any, *rest: Any, **named: Any) -> Any:
                return await self._repeat(lambda: call(sender, request, *rest, **named), request, threshold)

            client._call = guarded
        else:
            invoke, own_threshold = client.invoke, client.sleep_threshold
            signature = inspect.signature(invoke)

            @functools.wraps(invoke)
            async def guarded_invoke(query: Any, *rest: Any, **named: Any) -> Any:
                given = signature.bind(query, *rest, **named)
                threshold = given.arguments.pop("sleep_threshold", named.get("sleep_threshold"))
                return await self._repeat(
                    lambda: invoke(*given.args, **{**given.kwargs, "sleep_threshold": 0}),
                    query,
                    own_threshold if threshold is None else threshold,
                )

            client.invoke = guarded_invoke

    async def _repeat(self, call: Callable[[], Awaitable[Any]], request: Any, threshold: float) -> Any:
        method, chat = asked(request)
        while True:
            await self.passed(method, chat)
            try:
                return await call()
            except Exception as error:
                seconds = flood_seconds(error)
                if seconds is None:
                    raise
                noted = await self._note_error(error, method, chat if is_slow_mode(error) else None)
                if seconds > threshold >= 0:
                    raise
                if not noted:  # nothing else would hold the next one back
                    await asyncio.sleep(seconds)

    async def _note_error(self, error: BaseException, method: str, chat: Union[int, str, None]) -> bool:
        seconds = flood_seconds(error)
        if seconds is None:
            return False
        try:
            await self.note(seconds, method, chat)
        except errors.Error as failure:
            log.warning("the flood wait of %s is not noted: %s", method, failure)
            return False
        return True

    def _keys(self, method: str, chat: Union[int, str, None]) -> list[str]:
        keys = [self._prefix + method]
        return keys if chat is None else [*keys, f"{keys[0]}:{chat}"]


def _left(value: Optional[bytes]) -> float:
    """Seconds. Never more than was noted, whatever the clock is set to."""
    try:
        until, seconds = map(float, (value or b"").split())
    except ValueError:
        return 0.0
    left = min(until - time.time(), seconds)
    return left if math.isfinite(left) else 0.0
