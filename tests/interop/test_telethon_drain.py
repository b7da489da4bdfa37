"""A host is drained: its TelegramClients disconnect, and another host has their sessions at once, with everything that
was written."""

from __future__ import annotations

import asyncio
from typing import Any

import gramd
import pytest
from gramd.telethon import GramdSession
from telethon import TelegramClient

import mongo
import offline_telethon
from daemon import Daemon
from offline_telethon import KEY, met, state, user


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    offline_telethon.patch(monkeypatch.setattr)


async def update_until_disconnected(client: TelegramClient) -> int:
    """What Telethon does with updates. The number of those that were taken."""
    n = 0
    while client.is_connected():
        n += 1
        client.session.process_entities(met(user(1000 + n)))
        client.session.set_update_state(5, state(n))
        await asyncio.sleep(0.02)
    return n


async def test_clients_of_a_drained_host_are_at_once_on_another(
    two_daemons: tuple[Daemon, Daemon], offline: None
) -> None:
    first, second = two_daemons
    sessions = [GramdSession(mongo.session_name(), socket=first.socket) for _ in range(3)]
    clients = [TelegramClient(session, 12345, "0" * 32) for session in sessions]
    for client in clients:
        await client.connect()
    updating = [asyncio.ensure_future(update_until_disconnected(client)) for client in clients]
    async with gramd.Client(first.socket) as operator, gramd.Client(second.socket) as elsewhere:
        waiting = [
            asyncio.ensure_future(elsewhere.open(session.name, create=False, wait=60)) for session in sessions
        ]
        await asyncio.sleep(0.3)
        assert not any(each.done() for each in waiting)
        await operator.drain()
        for opening, updated in zip(waiting, await asyncio.gather(*updating)):
            there = await opening
            peers = [peer for peer in await there.scan_peers() if 1000 < peer.id <= 1000 + updated]
            states = {each.id: each.pts for each in await there.get_states()}
            assert len(peers) == min(updated, 1000) and states[5] == updated
            assert await there.get("auth_key") == [KEY]
        assert not any(client.is_connected() for client in clients)
        with pytest.raises(gramd.Unavailable, match="drain"):
            await clients[0].connect()
        await operator.drain(False)


async def test_on_leave_decides_when_the_session_is_free(
    two_daemons: tuple[Daemon, Daemon], offline: None
) -> None:
    first, second = two_daemons
    asked: asyncio.Queue[str] = asyncio.Queue()
    session = GramdSession(mongo.session_name(), socket=first.socket, on_leave=asked.put)
    client = TelegramClient(session, 12345, "0" * 32)
    await client.connect()
    async with gramd.Client(first.socket) as operator, gramd.Client(second.socket) as elsewhere:
        opening: Any = asyncio.ensure_future(elsewhere.open(session.name, create=False, wait=60))
        await operator.drain()
        assert "hands its sessions over" in await asked.get()
        await asyncio.sleep(3)  # longer than the term
        assert client.is_connected() and not opening.done()
        session.process_entities(met(user(1)))
        await client.disconnect()
        there = await opening
        assert (await there.get_peer_by_id(1)).access_hash == 10
        await operator.drain(False)
