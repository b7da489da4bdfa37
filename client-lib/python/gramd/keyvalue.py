"""The key-value area of a session: what else its clients keep in it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Optional, cast

from . import answers, limits
from .records import KeyValue


class KeyValueArea(ABC):
    """The methods of a `Session` on its key-value area. All of them need the right to write.

    Keys are texts of 1 to 255 bytes; values are `bytes`, at most `client.server["kv_max_value"]` of them."""

    @abstractmethod
    def _call(self, method: str, *params: Any, on_result: Any = None) -> asyncio.Future[Any]: ...

    async def kv_get(self, keys: Iterable[str]) -> list[Optional[bytes]]:
        """The value of each key; `None`: there is none. At most 1000 keys."""
        keys = list(keys)

        def check(values: list[Optional[bytes]]) -> list[Optional[bytes]]:
            answers.check_count("kv_get", keys, values)
            return values

        return cast("list[Optional[bytes]]", await self._call("kv_get", keys, on_result=check))

    async def kv_set(self, rows: Iterable[Sequence[Any]]) -> None:
        """Rows as `[key, value]` or `[key, value, ttl]`: seconds until the value expires. The value `None`
        deletes. All or nothing (on MongoDB each key by itself)."""
        await self._call("kv_set", list(rows))

    async def kv_swap(
        self, key: str, expected: Optional[bytes], value: Optional[bytes], ttl: Optional[int] = None
    ) -> tuple[bool, Optional[bytes]]:
        """Writes `value` if the key has the value `expected`; `None`: if it has none. Returns whether it did,
        and the value that stands now. A swap whose answer was lost is repeated, but done once."""
        done, now = await self._call("kv_swap", key, expected, value, ttl)
        return done, now

    async def kv_scan(
        self, prefix: str = "", after: Optional[str] = None, limit: int = limits.ROWS
    ) -> list[KeyValue]:
        """The keys that begin with `prefix`, and their values, after the key `after`, ascending by their
        bytes. An empty list is the end."""
        return [KeyValue(*row) for row in await self._call("kv_scan", prefix, after, limit)]
