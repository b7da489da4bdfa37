"""A host is drained: its bots stop, and another host has their sessions at once, with everything that was written."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import gramd
import pytest

import library
import mongo
import offline
from daemon import Daemon
from library import GramdStorage

offline.patch()


def row(n: int) -> tuple[Any, ...]:
    return (n, 10 * n, "user", None) if library.LISTED_NAMES else (n, 10 * n, "user", None, None)


async def running(storage: Any) -> Any:
    """A signed-in Client."""
    app = library.client_with(storage)
    await app.connect()
    await app.storage.user_id(offline.ME)
    await app.storage.is_bot(False)
    await app.initialize()
    return app


async def write_until_stopped(app: Any) -> int:
    """What a bot's handlers do. The number of acknowledged writes."""
    n = 0
    while app.storage._session is not None:  # Electrogram's storage raises no errors
        await app.storage.update_peers([row(n + 1)])
        n += 1
    return n


async def test_bots_of_a_drained_host_are_at_once_on_another(two_daemons: tuple[Daemon, Daemon]) -> None:
    first, second = two_daemons
    storages = [GramdStorage(mongo.session_name(), socket=first.socket) for _ in range(5)]
    apps = [await running(storage) for storage in storages]
    writing = [asyncio.ensure_future(write_until_stopped(app)) for app in apps]
    lost: list[gramd.Error] = []
    async with gramd.Client(first.socket) as operator, gramd.Client(second.socket) as elsewhere:
        waiting = [
            asyncio.ensure_future(elsewhere.open(storage.name, create=False, wait=60, on_lost=lost.append))
            for storage in storages
        ]
        await asyncio.sleep(0.2)
        assert not any(each.done() for each in waiting)
        await operator.drain()
        for app, opening, written in zip(apps, waiting, await asyncio.gather(*writing)):
            session = await opening
            assert not app.is_initialized and not app.is_connected
            assert written > 0 and len(await session.scan_peers()) == written
            assert (await session.get("user_id", "auth_key")) == [offline.ME, offline.KEY]
        assert not lost
        await second_start_is_refused(storages[0])
        await operator.drain(False)


async def second_start_is_refused(storage: Any) -> None:
    with pytest.raises(gramd.Unavailable, match="drain"):
        await storage.open()


async def test_the_session_is_free_when_the_client_has_closed_it(two_daemons: tuple[Daemon, Daemon]) -> None:
    """Not before: `on_leave` takes longer than the term, and the lease is renewed meanwhile."""
    first, second = two_daemons
    closed: list[float] = []

    async def stop(reason: str) -> None:
        await asyncio.sleep(3)
        assert await app.storage.get_peer_by_id(1) is not None
        await app.stop()
        closed.append(time.monotonic())

    storage = GramdStorage(mongo.session_name(), socket=first.socket, on_leave=stop)
    app = await running(storage)
    await app.storage.update_peers([row(1)])
    async with gramd.Client(first.socket) as operator, gramd.Client(second.socket) as elsewhere:
        opening = asyncio.ensure_future(elsewhere.open(storage.name, create=False, wait=60))
        await operator.drain()
        await opening
        assert closed and time.monotonic() - closed[0] < 1
        await operator.drain(False)


async def test_a_session_without_on_leave_is_lost_and_waited_out(two_daemons: tuple[Daemon, Daemon]) -> None:
    first, second = two_daemons
    lost: list[tuple[float, gramd.Error]] = []
    async with gramd.Client(first.socket) as client, gramd.Client(second.socket) as elsewhere:
        name = mongo.session_name()
        await client.open(name, on_lost=lambda reason: lost.append((time.monotonic(), reason)))
        opening = asyncio.ensure_future(elsewhere.open(name, create=False, wait=60))
        await client.drain()
        await opening
        assert [reason.code for _, reason in lost] == ["fenced"]
        assert time.monotonic() - lost[0][0] > 0.5  # the term is 2 s, and a lease is renewed after a third
        await client.drain(False)


async def test_a_bot_starts_again_when_the_drain_is_over(two_daemons: tuple[Daemon, Daemon]) -> None:
    first, _ = two_daemons
    storage = GramdStorage(mongo.session_name(), socket=first.socket, wait=60)
    app = await running(storage)
    async with gramd.Client(first.socket) as operator:
        await operator.drain()
        while app.is_connected:
            await asyncio.sleep(0.005)
        starting = asyncio.ensure_future(app.connect())
        await asyncio.sleep(0.5)
        assert not starting.done()
        await operator.drain(False)
        await starting
        assert await app.storage.user_id() == offline.ME
        await app.disconnect()
