"""A session in MongoDB that another host's daemon has taken over: its bot must stop, and answers nothing any more
from what it knew."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import gramd
import pytest

import library
import mongo
import offline
from daemon import Daemon
from library import GramdStorage

offline.patch()

OURS, THEIRS = [1, 10, "user", None, "491"], [1, 20, "user", None, "492"]


async def running(storage: Any) -> Any:
    """A Client with a session that is signed in, and a peer in its cache."""
    app = library.client_with(storage)
    await app.connect()
    await app.storage.user_id(offline.ME)
    await app.storage.is_bot(False)
    await app.initialize()
    row = (1, 10, "user", "491") if library.LISTED_NAMES else tuple(OURS)
    await app.storage.update_peers([row])
    assert (await app.storage.get_peer_by_id(1)).access_hash == 10
    return app


async def answers_nothing(storage: Any) -> None:
    for question in (storage.get_peer_by_id(1), storage.get_peer_by_phone_number("491"), storage.user_id()):
        with pytest.raises(gramd.Fenced):
            await question


async def refused(storage: Any) -> gramd.Busy:
    """What the daemon that has lost the session says, once it has confirmed that."""
    while True:
        with pytest.raises((gramd.Busy, gramd.Unavailable)) as caught:
            await storage.open()
        if isinstance(caught.value, gramd.Busy):
            return caught.value
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def taken(by: Daemon, name: str) -> AsyncIterator[gramd.Session]:
    """By a daemon that waits until the other's term is over."""
    async with gramd.Client(by.socket) as client:
        session = await client.open(name, create=False, wait=60)
        await session.update_peers([THEIRS])
        yield session


async def test_the_bot_is_told_or_stopped(two_daemons: tuple[Daemon, Daemon]) -> None:
    first, second = two_daemons
    lost: list[gramd.Error] = []
    storage = GramdStorage(mongo.session_name(), socket=first.socket, on_lost=lost.append)
    told = await running(storage)
    stopped = await running(GramdStorage(mongo.session_name(), socket=first.socket))
    first.freeze()
    async with taken(second, stopped.storage.name), taken(second, storage.name) as session:
        assert [error.code for error in lost] == ["fenced"]  # not later than the other had it
        await answers_nothing(storage)
        first.thaw()
        refusal = await refused(GramdStorage(storage.name, socket=first.socket))
        assert refusal.holder is not None and refusal.holder["host"] in str(refusal)
        await answers_nothing(storage)
        assert (await session.get_peer_by_id(1)).access_hash == 20
        while stopped.is_connected:
            await asyncio.sleep(0.005)
    assert not stopped.is_initialized
    assert len(lost) == 1 and told.is_connected  # which is for its `on_lost` to see to
    await told.stop()


async def test_the_daemon_tells_of_the_loss(two_daemons: tuple[Daemon, Daemon]) -> None:
    """A bot that stood still together with its daemon finds out from whichever is first."""
    first, second = two_daemons
    lost: list[gramd.Error] = []
    async with gramd.Client(first.socket) as client:
        session = await client.open(mongo.session_name(), on_lost=lost.append, cache=True)
        await session.update_peers([OURS])
        session._lease.stop()  # so that only the daemon can tell
        session._lease._until = None
        first.freeze()
        async with taken(second, session.name):
            assert not lost and (await session.get_peer_by_id(1)).access_hash == 10
            first.thaw()
            while not lost:
                await asyncio.sleep(0.005)
        assert [error.code for error in lost] == ["fenced"]
        with pytest.raises(gramd.Fenced):
            await session.get_peer_by_id(1)
