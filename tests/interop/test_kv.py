"""The key-value area through the Python package, with a daemon."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any, Optional

import gramd
import pytest

from daemon import Daemon
from lossy import Lossy


async def test_values(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        assert await session.kv_get(["none"]) == [None]
        await session.kv_set([["bytes", b"\0\xff"], ("empty", b""), ["é\0", bytearray(b"x"), 60]])
        assert await session.kv_get(["é\0", "none", "empty", "bytes"]) == [b"x", None, b"", b"\0\xff"]
        assert await session.kv_swap("empty", b"x", b"y") == (False, b"")
        assert await session.kv_swap("empty", b"", b"y", ttl=1000) == (True, b"y")
        assert await session.kv_swap("none", None, b"1") == (True, b"1")
        assert await session.kv_swap("none", b"1", None) == (True, None)
        rows = await session.kv_scan()
        assert rows == [("bytes", b"\0\xff"), ("empty", b"y"), ("é\0", b"x")]
        assert rows[0].key == "bytes" and rows[0].value == b"\0\xff"
        assert await session.kv_scan("e", limit=1) == [("empty", b"y")]
        assert await session.kv_scan("e", after="empty") == []
        await session.kv_set([["bytes", None], ["empty", None]])
        assert await session.kv_scan(after="b") == [("é\0", b"x")]
        assert client.server["kv_max_value"] == 65536 and client.server["kv_max"] == 16 << 20
        for wrong in ({"value": "text"}, {"value": b"", "ttl": 0}, {"value": 1}):
            with pytest.raises(gramd.BadRequest):
                await session.kv_swap("k", None, **wrong)
        with pytest.raises(gramd.TooLarge):
            await session.kv_set([["k", bytes(65537)]])
        with pytest.raises(gramd.BadRequest):
            await session.kv_get(["x" * 256])


def test_blocking(daemon: Daemon) -> None:
    with gramd.SyncClient() as client, client.open("a") as session:
        session.kv_set([["a", b"1"]])
        assert session.kv_get(["a", "b"]) == [b"1", None]
        assert session.kv_swap("a", b"1", b"2") == (True, b"2")
        assert session.kv_scan() == [gramd.KeyValue("a", b"2")]


async def test_watchers_are_told_which_keys(daemon: Daemon) -> None:
    told: list[Any] = []
    async with gramd.Client() as client, gramd.Client() as other:
        session, writer = await client.open("a", cache=True), await other.open("a")
        session.on_changed = told.append
        await session.watch()
        await writer.kv_set([["a", b"1"], ["b", b"2"]])
        await writer.kv_swap("a", b"2", b"3")
        await writer.kv_swap("b", b"2", None)
        await session.kv_get(["a"])
        assert [each["kv"] for each in told] == [["a", "b"], ["b"]]


async def test_sixteen_clients_count_right(daemon: Daemon) -> None:
    async def count(times: int) -> None:
        async with gramd.Client() as client, await client.open("a") as session:
            seen: Optional[bytes] = None
            while times:
                done, seen = await session.kv_swap("counter", seen, b"%d" % (int(seen or b"0") + 1))
                times -= done

    await asyncio.gather(*(count(30) for _ in range(16)))
    async with gramd.Client() as client, await client.open("a") as session:
        assert await session.kv_get(["counter"]) == [b"480"]


@pytest.mark.parametrize("killed", [False, True])
async def test_a_repeated_swap_is_done_once(daemon: Daemon, tmp_path: Path, killed: bool) -> None:
    async def meanwhile() -> None:
        async with gramd.Client() as other, await other.open("a") as session:
            now = await session.kv_swap("lock", b"mine", b"theirs")
            assert now[1] == b"theirs"
        if killed:
            daemon.kill()
            daemon.start()

    async with Lossy(str(tmp_path / "lossy"), daemon.socket) as proxy, gramd.Client(proxy.path) as client:
        session = await client.open("a")
        await client.ping()
        proxy.lose_next(meanwhile)
        assert await session.kv_swap("lock", None, b"mine") == (True, b"mine")
        assert await session.kv_get(["lock"]) == [b"theirs"]
        proxy.lose_next(meanwhile)
        assert await session.kv_swap("lock", None, b"mine") == (False, b"theirs")
        await session.close()


async def test_a_hundred_thousand_keys_are_scanned_in_flat_memory(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        for first in range(0, 100_000, 1000):
            await session.kv_set([[f"{n:06}", b"v" * 64] for n in range(first, first + 1000)])
        tracemalloc.start()
        try:
            seen, page = 0, await session.kv_scan()
            while page:
                assert page[0].key == f"{seen:06}"
                seen += len(page)
                page = await session.kv_scan(after=page[-1].key)
            assert seen == 100_000
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
