"""Another host's daemon takes over a session in MongoDB: the bot must stop, and its cache must answer nothing."""

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
    """A signed-in Client with a peer in its cache."""
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
    """The answer of the daemon that has lost the session. It is `Unavailable` until the loss is confirmed."""
    while True:
        with pytest.raises((gramd.Busy, gramd.Unavailable)) as caught:
            await storage.open()
        if isinstance(caught.value, gramd.Busy):
            return caught.value
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def taken(by: Daemon, name: str) -> AsyncIterator[gramd.Session]:
    """Takes the session over: opens it at another daemon, which waits until the term of the first is over."""
    async with gramd.Client(by.socket) as client:
        session = await client.open(name, create=False, wait=60)
        await session.update_peers([THEIRS])
        yield session


async def test_on_lost_is_called_or_the_client_stops(two_daemons: tuple[Daemon, Daemon]) -> None:
    first, second = two_daemons
    lost: list[gramd.Error] = []
    storage = GramdStorage(mongo.session_name(), socket=first.socket, on_lost=lost.append)
    told = await running(storage)
    stopped = await running(GramdStorage(mongo.session_name(), socket=first.socket))
    first.freeze()
    async with taken(second, stopped.storage.name), taken(second, storage.name) as session:
        assert [error.code for error in lost] == ["fenced"]  # not later than the takeover
        await answers_nothing(storage)
        first.thaw()
        refusal = await refused(GramdStorage(storage.name, socket=first.socket))
        assert refusal.holder is not None and refusal.holder["host"] in str(refusal)
        await answers_nothing(storage)
        assert (await session.get_peer_by_id(1)).access_hash == 20
        while stopped.is_connected:
            await asyncio.sleep(0.005)
    assert not stopped.is_initialized
    assert len(lost) == 1 and told.is_connected  # stopping it is the task of `on_lost`
    await told.stop()


async def test_the_daemon_notifies_of_the_loss(two_daemons: tuple[Daemon, Daemon]) -> None:
    """The daemon notifies the bot, without the bot's own look at its lease."""
    first, second = two_daemons
    lost: list[gramd.Error] = []
    async with gramd.Client(first.socket) as client:
        session = await client.open(mongo.session_name(), on_lost=lost.append, cache=True)
        await session.update_peers([OURS])
        session._lease.stop()  # only the daemon can notify
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
