"""The real TelegramClient on gramd's session. Telegram's side is replaced."""

from __future__ import annotations

import asyncio
from typing import Any

import gramd
import pytest
from gramd import stop
from gramd.telethon import GramdSession
from telethon import TelegramClient
from telethon.crypto import AuthKey

import mongo
import offline_telethon
from daemon import Daemon
from offline_telethon import KEY, met, user


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    offline_telethon.patch(monkeypatch.setattr)


def client_with(session: Any) -> TelegramClient:
    return TelegramClient(session, 12345, "0" * 32)


def leave(session: GramdSession) -> None:
    """As if the daemon had sent `leave`."""
    opened = session._opened
    assert opened is not None
    opened.session.loop.call_soon_threadsafe(opened.session.leave, "the host hands its sessions over")


async def closed(session: GramdSession) -> None:
    """Returns when no client of the daemon has the session open."""
    async with gramd.Client() as client:
        await (await client.open(session.name, create=False, mode="exclusive", wait=20)).close()


async def test_logging_out_removes_the_session(daemon: Daemon, offline: None) -> None:
    client = client_with(GramdSession("acc"))
    await client.connect()
    assert await client.log_out()
    async with gramd.Client() as other:
        with pytest.raises(gramd.NotFound):
            await other.open("acc", create=False)


async def test_a_start_that_fails_and_a_second_one(daemon: Daemon, offline: None) -> None:
    client = client_with(GramdSession("acc"))
    offline_telethon.FAULTS.append(OSError("no network"))
    with pytest.raises(OSError, match="no network"):
        await client.connect()
    await client.connect()
    assert client.session.auth_key == AuthKey(KEY)
    await client.disconnect()


async def test_losing_the_session_disconnects_the_client(daemon: Daemon, offline: None) -> None:
    client = client_with(GramdSession("acc"))
    await client.connect()
    async with gramd.Client() as other:
        await (await other.open("acc", create=False)).delete()
    while client.is_connected():
        await asyncio.sleep(0.005)
    await asyncio.wait_for(client.disconnected, 60)


async def test_callbacks_run_in_the_clients_event_loop(daemon: Daemon, offline: None) -> None:
    loops: asyncio.Queue[Any] = asyncio.Queue()

    def called() -> None:
        loops.put_nowait(asyncio.get_running_loop())

    client = client_with(GramdSession("acc", on_lost=called, on_leave=called))
    await client.connect()
    leave(client.session)
    assert await loops.get() is asyncio.get_running_loop()
    async with gramd.Client() as other:
        await (await other.open("acc", create=False)).delete()
    assert await loops.get() is asyncio.get_running_loop()
    await client._disconnect()
    client.session.close()


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_losing_the_session_calls_on_lost(daemon: Daemon, offline: None, asynchronous: bool) -> None:
    reasons: asyncio.Queue[gramd.Error] = asyncio.Queue()
    callback = reasons.put if asynchronous else reasons.put_nowait
    client = client_with(GramdSession("acc", on_lost=callback))
    await client.connect()
    async with gramd.Client() as other:
        await (await other.open("acc", create=False)).delete()
    assert (await reasons.get()).code == "not_found"
    assert client.is_connected()
    with pytest.raises(gramd.NotFound):
        client.session.process_entities(met(user(1)))
    client.session.close()
    await client.disconnect()


async def test_on_lost_is_called_once(daemon: Daemon, offline: None) -> None:
    reasons: asyncio.Queue[gramd.Error] = asyncio.Queue()
    session = GramdSession("acc", on_lost=reasons.put_nowait)
    clients = [client_with(session), client_with(session)]
    for client in clients:
        await client.connect()
    async with gramd.Client() as other:
        await (await other.open("acc", create=False)).delete()
    await reasons.get()
    for client in clients:
        await client._disconnect()  # does not write to the session
    assert reasons.empty()
    session.close()


async def test_a_session_that_another_host_has_taken_over(
    two_daemons: tuple[Daemon, Daemon], offline: None
) -> None:
    first, second = two_daemons
    session = GramdSession(mongo.session_name(), socket=first.socket)
    client = client_with(session)
    await client.connect()
    session.process_entities(met(user(1)))
    assert session.get_entity_rows_by_id(1) == (1, 10)
    first.freeze()
    async with gramd.Client(second.socket) as other:
        await other.open(session.name, create=False, wait=60)
        with pytest.raises(gramd.Fenced):
            session.get_entity_rows_by_id(1)
        first.thaw()
        while client.is_connected():
            await asyncio.sleep(0.005)
    await client._disconnect()
    session.close()


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_client_that_does_not_disconnect_loses_its_connection(
    daemon: Daemon, offline: None, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async def disconnect() -> None:
        if how == "raises":
            raise RuntimeError("mine")
        await asyncio.Event().wait()

    monkeypatch.setattr(stop, "STOP_TIMEOUT", 0.05)
    client = client_with(GramdSession("acc"))
    await client.connect()
    monkeypatch.setattr(client, "disconnect", disconnect)
    async with gramd.Client() as other:
        await (await other.open("acc", create=False)).delete()
    while client.is_connected():
        await asyncio.sleep(0.005)
    await client._disconnect()
    client.session.close()


# ---- leaving the session ----


async def test_leaving_disconnects_the_client_and_closes_the_session(daemon: Daemon, offline: None) -> None:
    session = GramdSession("acc")
    client = client_with(session)
    await client.connect()
    session.process_entities(met(*(user(n) for n in range(1, 100))))
    leave(session)
    await closed(session)
    assert not client.is_connected() and session._opened is None
    await asyncio.wait_for(client.disconnected, 60)
    async with gramd.Client() as other, await other.open("acc", create=False) as stored:
        assert len(await stored.scan_peers()) >= 99 and len(await stored.get_states()) == 1
        assert (await stored.get("auth_key"))[0] == KEY


async def test_a_session_without_a_connected_client_is_closed(daemon: Daemon, offline: None) -> None:
    session = GramdSession("acc")
    client = client_with(session)
    session.process_entities(met(user(1)))
    leave(session)
    await closed(session)
    await client.connect()  # opens it again
    await client.disconnect()


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_client_that_does_not_disconnect_loses_its_connection_before_the_session_is_closed(
    daemon: Daemon, offline: None, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async def disconnect() -> None:
        if how == "raises":
            raise RuntimeError("mine")
        await asyncio.Event().wait()

    monkeypatch.setattr(stop, "LEAVE_TIMEOUT", 0.05)
    session = GramdSession("acc")
    client = client_with(session)
    await client.connect()
    monkeypatch.setattr(client, "disconnect", disconnect)
    leave(session)
    await closed(session)
    assert not client.is_connected() and session._opened is None
    await client._disconnect()


async def test_a_client_that_is_connecting_is_disconnected_afterwards(
    daemon: Daemon, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = GramdSession("acc")
    client = client_with(session)
    sender, go = client._sender, asyncio.Event()

    async def connect(connection: Any) -> bool:
        async with sender._connect_lock:
            await go.wait()
            sender.auth_key.key = KEY
            sender._user_connected = True
            return True

    monkeypatch.setattr(sender, "connect", connect)
    connecting = asyncio.ensure_future(client.connect())
    while not sender._connect_lock.locked():
        await asyncio.sleep(0)
    opened = session._opened
    leave(session)
    await asyncio.sleep(0.1)
    assert session._opened is opened and opened is not None and opened.session.ended is None
    go.set()
    await asyncio.wait([connecting])
    await closed(session)
    assert not client.is_connected() and session._opened is None


async def test_two_clients_are_disconnected_before_their_session_is_closed(
    daemon: Daemon, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = GramdSession("acc")
    clients = [client_with(session), client_with(session)]
    for client in clients:
        await client.connect()
    connected: list[bool] = []
    close = session.close

    def closing() -> None:
        connected.extend(client.is_connected() for client in clients)
        close()

    monkeypatch.setattr(session, "close", closing)
    leave(session)
    await closed(session)
    assert connected and not any(connected)


async def test_a_client_whose_event_loop_does_not_run_keeps_the_lease(
    daemon: Daemon, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "LEAVE_TIMEOUT", 0.05)
    monkeypatch.setattr(stop, "STOP_TIMEOUT", 0.05)
    session = GramdSession("acc")

    def elsewhere() -> tuple[asyncio.AbstractEventLoop, TelegramClient]:
        loop = asyncio.new_event_loop()

        async def make() -> TelegramClient:
            client = client_with(session)
            await client.connect()
            return client

        return loop, loop.run_until_complete(make())

    loop, client = await asyncio.to_thread(elsewhere)
    opened = session._opened
    assert opened is not None
    leave(session)
    while opened.session.ended is None:
        await asyncio.sleep(0.005)
    assert isinstance(opened.session.ended, gramd.Fenced) and client.is_connected()

    async def stopped() -> None:  # the loss stops it as soon as its loop runs again
        while client.is_connected():
            await asyncio.sleep(0.005)

    await asyncio.to_thread(loop.run_until_complete, stopped())
    await asyncio.to_thread(loop.run_until_complete, client._disconnect())
    loop.close()


async def test_a_client_that_begins_to_connect_while_its_session_is_left(
    daemon: Daemon, offline: None
) -> None:
    """It has read the session before this is closed, and is disconnected first."""
    session = GramdSession("acc")
    client = client_with(session)
    replace, loop = session._replace, asyncio.get_running_loop()
    connected: list[bool] = []

    def replacing(old: Any, new: Any) -> Any:  # in a thread
        if old is not None:
            asyncio.run_coroutine_threadsafe(client.connect(), loop).result(20)
            connected.append(client.is_connected())
        return replace(old, new)

    def closing(opened: Any) -> None:
        connected.append(client.is_connected())
        close(opened)

    close = session._save_and_close
    session._replace, session._save_and_close = replacing, closing
    leave(session)
    while len(connected) < 2:
        await asyncio.sleep(0.005)
    await client._disconnect()
    assert connected == [True, False]
    session.close()  # the client has opened it again: this daemon is not drained
    await closed(session)
