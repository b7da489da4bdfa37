"""Keeps a library's Client from asking Telegram during a flood wait that a process on the session has met."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Union

from . import errors
from .flood import asked, flood_seconds, floods_of, is_slow_mode
from .ledger import Ledger
from .session import Session

log = logging.getLogger(__name__)

Chat = Union[int, str, None]


class Gate:
    """Keeps the processes on a session from asking Telegram during a flood wait that one of them has met.

    `session` is an open one, with the right to write. The waits are kept there under keys that begin with
    `prefix`, until they are over, also across restarts. While the session is out of reach, a process goes by
    the waits that it knows."""

    def __init__(self, session: Session, *, prefix: str = "gate:") -> None:
        self._ledger = Ledger(session)
        self._prefix = prefix

    @contextlib.asynccontextmanager
    async def wait(self, method: str, chat: Chat = None) -> AsyncIterator[None]:
        """Waits until `method` may be called (for `chat`). A flood error in the block is noted for the same,
        and raised. A wait that was noted without a chat is one for all chats."""
        await self.passed(method, chat)
        try:
            yield
        except Exception as error:
            for flood, _ in floods_of(error, ()):
                await self._note(flood, method, chat)
            raise

    async def passed(self, method: str, chat: Chat = None) -> None:
        """Returns when no wait is known."""
        await self._ledger.passed(self._keys(method, chat))

    async def note(self, seconds: int, method: str, chat: Chat = None) -> None:
        """Nobody passes for so many seconds. A longer wait that is noted already stays."""
        if seconds > 0:
            await self._ledger.note(self._keys(method, chat)[-1], seconds)

    async def forget(self, method: str, chat: Chat = None) -> None:
        """Ends a wait early."""
        await self._ledger.forget(self._keys(method, chat)[-1])

    async def use(self, session: Session) -> None:
        """From now on the waits are kept in this session: one that was opened because the former was lost.
        Raises an error, and changes nothing, if they cannot be kept there."""
        await self._ledger.use(session)

    def guard(self, client: Any) -> Callable[[], None]:
        """From now on each request of a library's Client goes through this gate, until the function that this
        one returns is called. The gate also sleeps through the waits through which the library slept by
        itself (`sleep_threshold`). A wait is noted for all chats, a slow mode for its chat."""
        is_telethon = hasattr(client, "flood_sleep_threshold")
        return self._guard_telethon(client) if is_telethon else self._guard_family(client)

    def _guard_telethon(self, client: Any) -> Callable[[], None]:
        call, threshold, on = client._call, client.flood_sleep_threshold, True

        async def guarded(sender: Any, request: Any, *rest: Any, **named: Any) -> Any:
            if not on:
                return await call(sender, request, *rest, **named)
            if isinstance(request, Iterable):
                request = requests = list(request)
            else:
                requests = [request]
            return await self._repeat(lambda: call(sender, request, *rest, **named), requests, threshold)

        def unguard() -> None:
            nonlocal on
            if on:
                on, client.flood_sleep_threshold = False, threshold

        client._call, client.flood_sleep_threshold = guarded, 0
        return unguard

    def _guard_family(self, client: Any) -> Callable[[], None]:
        invoke, own_threshold, on = client.invoke, client.sleep_threshold, True
        signature = inspect.signature(invoke)

        @functools.wraps(invoke)
        async def guarded(query: Any, *rest: Any, **named: Any) -> Any:
            if not on:
                return await invoke(query, *rest, **named)
            given = signature.bind(query, *rest, **named)
            threshold = given.arguments.pop("sleep_threshold", named.get("sleep_threshold"))
            return await self._repeat(
                lambda: invoke(*given.args, **{**given.kwargs, "sleep_threshold": 0}),
                [query],
                own_threshold if threshold is None else threshold,
            )

        def unguard() -> None:
            nonlocal on
            on = False

        client.invoke = guarded
        return unguard

    async def _repeat(
        self, call: Callable[[], Awaitable[Any]], requests: Sequence[Any], threshold: float
    ) -> Any:
        while True:
            # A call may turn the name of a chat into its id.
            keys = dict.fromkeys(key for each in requests for key in self._keys(*asked(each)))
            await self._ledger.passed(list(keys))
            try:
                return await call()
            except Exception as error:
                floods = floods_of(error, requests)
                for flood, request in floods:
                    method, chat = asked(request)
                    await self._note(flood, method, chat if is_slow_mode(flood) else None)
                if error not in [flood for flood, _ in floods]:  # of a list, some may be done
                    raise
                if (flood_seconds(error) or 0) > threshold >= 0:
                    raise

    async def _note(self, flood: BaseException, method: str, chat: Chat) -> None:
        try:
            await self.note(flood_seconds(flood) or 0, method, chat)
        except errors.Error as failure:
            log.warning("the flood wait of %s is known to this process alone: %s", method, failure)

    def _keys(self, method: str, chat: Chat) -> list[str]:
        keys = [self._prefix + method]
        return keys if chat is None else [*keys, f"{keys[0]}:{chat}"]
