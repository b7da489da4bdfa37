"""The real Client on gramd's storage. Telegram's side is replaced."""

from __future__ import annotations

import asyncio

import gramd
import pytest
from gramd import stop

import library
import offline
import test_gate
from daemon import Daemon
from library import NAME, GramdStorage, client_with, lib, ours, raw
from scenario_family import authorise

offline.patch()


async def test_logging_out_removes_the_session(daemon: Daemon) -> None:
    app = client_with(GramdStorage("acc"))
    await app.connect()
    await authorise(app)
    await app.disconnect()
    await app.start()
    await app.log_out()
    async with gramd.Client() as client:
        with pytest.raises(gramd.NotFound):
            await client.open("acc", create=False)
    assert not await app.connect()  # and a new one can begin
    await app.disconnect()


async def test_a_start_that_fails_and_a_second_one(daemon: Daemon) -> None:
    app = client_with(GramdStorage("acc", mode="exclusive"))
    offline.FAULTS.append(OSError("no network"))
    with pytest.raises(OSError, match="no network"):
        await app.connect()
    await app.connect()
    await authorise(app)
    await app.disconnect()
    await app.start()
    await app.stop()


async def test_losing_the_session_stops_the_client(daemon: Daemon) -> None:
    app, other = client_with(GramdStorage("acc")), client_with(GramdStorage("other"))
    for each in (app, other):
        await each.connect()
        await authorise(each)
        await each.initialize()
    async with gramd.Client() as client:
        await (await client.open("acc", create=False)).delete()
    while app.is_connected:
        await asyncio.sleep(0.005)
    assert not app.is_initialized
    assert other.is_connected and await other.storage.user_id() == offline.ME
    await other.stop()


async def test_a_client_that_does_not_stop_loses_its_connections(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = asyncio.Event()

    async def cut_off() -> None:
        cut.set()

    app = client_with(GramdStorage("acc"))
    await app.connect()
    await authorise(app)
    await app.initialize()
    with monkeypatch.context() as patch:
        patch.setattr(stop, "STOP_TIMEOUT", 0.3)
        patch.setattr(app, "stop", asyncio.Event().wait)
        patch.setattr(app.session, "stop", cut_off)
        async with gramd.Client() as client:
            await (await client.open("acc", create=False)).delete()
        await cut.wait()
    await app.stop()


async def test_attach(daemon: Daemon) -> None:
    app = library.client("acc")
    storage = ours.attach(app, cache=False) if NAME != "hydrogram" else None
    if storage is None:
        return
    assert app.storage is storage and storage.name == "acc"
    await app.connect()
    with pytest.raises(ConnectionError):
        ours.attach(app)
    await authorise(app)
    text = await app.export_session_string()
    await app.disconnect()
    again = library.client("again", session_string=text)
    ours.attach(again)
    await again.start()
    assert await again.export_session_string() == text
    await again.stop()
    async with gramd.Client() as client:
        names = [each["name"] for each in await client.sessions()]
    assert names == ["acc", "again"]


async def test_an_update_is_stored(daemon: Daemon) -> None:
    app = client_with(GramdStorage("acc"))
    await app.connect()
    await authorise(app)
    await app.initialize()
    users, chats = offline.met()[:2], offline.met()[4:5]
    updates = raw.types.Updates(updates=[], users=users, chats=chats, date=1700000000, seq=0)
    for _ in range(3):
        await app.handle_updates(updates)
    async with gramd.Client() as client, await client.open("acc") as session:
        assert [peer.id for peer in await session.scan_peers()] == [-1000000000009, 5, 6]
        assert (await session.get_peer_by_username("news")).id == -1000000000009
    await app.stop()
    assert lib.Client is type(app)


async def test_a_gate_knows_the_threshold_of_a_request(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        sender = test_gate.Sender(1, 1)
        app, request = test_gate.client_with(sender)
        gramd.Gate(session).guard(app)
        for arguments, named in (((5, 15, 0), {}), ((), {"sleep_threshold": 0})):
            with pytest.raises(type(test_gate.flood(1))):
                await app.invoke(request, *arguments, **named)
        assert sender.calls == 2
