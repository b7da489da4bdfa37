"""Keys of other data centres: a second start, and a second process, of a TelegramClient make none. Telegram's side is
replaced."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import struct
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional
from zlib import crc32

import gramd
import pytest
from gramd import shared, stop, telethon_senders
from gramd.telethon import GramdSession
from telethon import TelegramClient, errors
from telethon.client.telegrambaseclient import _ExportState
from telethon.crypto import AuthKey
from telethon.network import ConnectionTcpFull, MTProtoSender
from telethon.sessions import MemorySession, SQLiteSession
from telethon.tl import functions, types

import offline_telethon
from conftest import python
from daemon import Daemon
from offline_telethon import KEY

HERE = Path(__file__).parent
HOME, AWAY = 2, 4


class Telegram:
    """Its data centres. Files are at AWAY, for keys that are authorised there."""

    def __init__(self) -> None:
        self.made = self.exports = 0
        self.keys: dict[str, bool] = {}  # those of AWAY: whether they are authorised
        self.silent: set[str] = set()  # keys that get no answer
        self.failure: Optional[Exception] = None  # ends a sender that should get one
        self.asked = threading.Event()  # with one of these
        self.senders: list[Any] = []  # that have connected
        self.used: set[str] = set()  # keys with which something was sent to AWAY
        self.connecting: Optional[threading.Event] = None  # a connection to AWAY has begun, and waits for `go`
        self.go = asyncio.Event()

    def connected_with(self, keys: set[str]) -> list[Any]:
        return [each for each in self.senders if each.is_connected() and each.auth_key.key.hex() in keys]

    def patch(self, put: Any) -> None:
        telegram = self

        async def connect(sender: Any, connection: Any) -> bool:
            sender._away = connection._dc_id == AWAY
            async with sender._connect_lock:
                if sender._away and telegram.connecting is not None:
                    telegram.connecting.set()
                    await telegram.go.wait()
                if not sender.auth_key:
                    sender.auth_key.key = telegram.make() if sender._away else KEY
                sender._MTProtoSender__disconnected = asyncio.get_running_loop().create_future()
                telegram.senders.append(sender)
                sender._user_connected = True
            return True

        def send(sender: Any, request: Any, ordered: bool = False) -> Any:
            if not sender.is_connected():
                raise ConnectionError("disconnected")
            future = asyncio.get_running_loop().create_future()
            if sender._away:
                telegram.used.add(sender.auth_key.key.hex())
            try:
                if sender.auth_key.key.hex() in telegram.silent:
                    telegram.asked.set()
                    if telegram.failure is not None:
                        sender._MTProtoSender__disconnected.set_exception(telegram.failure)
                else:
                    future.set_result(telegram.answer(sender, request))
            except Exception as error:
                future.set_exception(error)
            return future

        offline_telethon.patch(put)
        put(MTProtoSender, "connect", connect)
        put(MTProtoSender, "send", send)
        put(TelegramClient, "_config", None)

    def make(self) -> bytes:
        self.made += 1
        key = os.urandom(256)
        self.keys[key.hex()] = False
        return key

    def answer(self, sender: Any, request: Any) -> Any:
        asked = request
        while hasattr(asked, "query"):
            asked = asked.query
        key = sender.auth_key.key.hex()
        if sender._away and key not in self.keys:
            raise errors.AuthKeyNotFound
        if isinstance(asked, functions.auth.ImportAuthorizationRequest):
            self.keys[key] = True
            return None
        if sender._away and not self.keys[key]:
            raise errors.AuthKeyUnregisteredError(request)
        if sender._away and isinstance(asked, functions.users.GetUsersRequest):
            assert asked is not request  # a new connection begins with the layer
            raise errors.UserMigrateError(request, capture=HOME)
        if isinstance(asked, functions.upload.GetFileRequest):
            return types.upload.File(types.storage.FileJpeg(), 0, b"content")
        if isinstance(asked, functions.auth.ExportAuthorizationRequest):
            self.exports += 1
            return types.auth.ExportedAuthorization(1, b"export")
        if isinstance(asked, functions.help.GetConfigRequest):
            return SimpleNamespace(dc_options=[types.DcOption(AWAY, "127.0.0.1", 443)])
        return offline_telethon.answer(request)

    async def start(self, session: Any) -> tuple[int, int]:
        """Starts the client, which loads files. How many keys were made, and how many exports."""
        before = self.made, self.exports
        async with connected(session) as client:
            for number in range(2):
                file = types.InputDocumentFileLocation(number, 1, b"", "")
                assert await client.download_file(file, dc_id=AWAY) == b"content"
        return self.made - before[0], self.exports - before[1]


@asynccontextmanager
async def connected(session: Any) -> AsyncIterator[TelegramClient]:
    client = TelegramClient(session, 12345, "0" * 32)
    await client.connect()
    try:
        yield client
    finally:
        await client.disconnect()


@pytest.fixture
def telegram(monkeypatch: pytest.MonkeyPatch) -> Telegram:
    fake = Telegram()
    fake.patch(monkeypatch.setattr)
    return fake


async def test_the_second_start_makes_no_key(daemon: Daemon, telegram: Telegram, tmp_path: Path) -> None:
    own = SQLiteSession(str(tmp_path / "own"))
    assert [await telegram.start(own) for _ in range(2)] == [(1, 1), (1, 1)]
    assert await telegram.start(GramdSession("acc")) == (1, 1)
    daemon.stop()
    daemon.start()
    assert await telegram.start(GramdSession("acc")) == (0, 0)
    assert await telegram.start(GramdSession("acc", cache=False)) == (0, 0)


async def test_a_second_process_makes_no_key(daemon: Daemon, telegram: Telegram) -> None:
    async with connected(GramdSession("acc")) as client:
        await client._borrow_exported_sender(AWAY)
        script = "import test_telethon_senders; test_telethon_senders.second_process()"
        done = await asyncio.to_thread(
            subprocess.run,
            python("-c", script),
            cwd=HERE,
            input=json.dumps(telegram.keys),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    assert json.loads(done.stdout) == [0, 0]


def second_process() -> None:
    telegram = Telegram()
    telegram.patch(setattr)
    telegram.keys = json.loads(input())
    print(json.dumps(asyncio.run(telegram.start(GramdSession("acc")))))


@pytest.mark.parametrize("how", ["unknown", "not authorised"])
async def test_a_refused_key_is_made_anew(daemon: Daemon, telegram: Telegram, how: str) -> None:
    assert await telegram.start(GramdSession("acc")) == (1, 1)
    telegram.keys = dict.fromkeys(telegram.keys, False) if how == "not authorised" else {}
    assert await telegram.start(GramdSession("acc")) == (1, 1)
    assert await telegram.start(GramdSession("acc")) == (0, 0)


TRANSPORT_FLOOD = errors.InvalidBufferError((-429).to_bytes(4, "little", signed=True))


@pytest.mark.parametrize("failure", [None, OSError(errno.ETIMEDOUT, ""), TRANSPORT_FLOOD])
async def test_what_says_nothing_about_a_key_does_not_forget_it(
    daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch, failure: Optional[Exception]
) -> None:
    """Silence, and errors of the network. `failure` ends the sender."""
    monkeypatch.setattr(telethon_senders, "ANSWER_WITHIN", 0.05 if failure is None else 60)
    assert await telegram.start(GramdSession("acc")) == (1, 1)
    telegram.silent, telegram.failure = set(telegram.keys), failure
    with pytest.raises(asyncio.TimeoutError if failure is None else type(failure)):
        await telegram.start(GramdSession("acc"))
    telegram.silent = set()
    assert await telegram.start(GramdSession("acc")) == (0, 0)


def framed(payload: bytes) -> bytes:
    packet = struct.pack("<ii", len(payload) + 12, 0) + payload
    return packet + struct.pack("<I", crc32(packet))


UNKNOWN_KEY = (-404).to_bytes(4, "little", signed=True)


@pytest.mark.parametrize(
    "refusal", [framed(UNKNOWN_KEY), 3 * UNKNOWN_KEY, UNKNOWN_KEY], ids=["a packet", "no packet", "its number"]
)
async def test_a_refusal_on_a_connection(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, refusal: bytes) -> None:
    """With Telethon's own sender and connection, which connects over and over with some of these."""
    new = os.urandom(256)

    class Client(TelegramClient):
        async def _create_exported_sender(self, dc_id: int) -> Any:
            sender = MTProtoSender(AuthKey(new), loggers=self._log)
            sender._user_connected = True
            return sender

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            writer.write(refusal)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    config = SimpleNamespace(dc_options=[types.DcOption(AWAY, "127.0.0.1", port)])
    monkeypatch.setattr(TelegramClient, "_config", config)
    async with gramd.Client() as raw, await raw.open("acc") as session:
        await session.set(auth_key=KEY)
        keys = telethon_senders.DataCentreKeys(session)
        await keys.keep(AWAY, os.urandom(256))
        telethon_senders.keep_keys("telethon", Client, lambda client: session)
        client = Client(MemorySession(), 12345, "0" * 32, connection=ConnectionTcpFull)
        sender = await client._create_exported_sender(AWAY)
        assert sender.auth_key.key == new == await keys.get(AWAY)
    server.close()


async def test_a_new_login_makes_a_new_key(daemon: Daemon, telegram: Telegram) -> None:
    assert await telegram.start(GramdSession("acc")) == (1, 1)
    async with gramd.Client() as client, await client.open("acc") as raw:
        await raw.set(auth_key=bytes(255) + b"1")
    assert await telegram.start(GramdSession("acc")) == (1, 1)
    assert await telegram.start(GramdSession("acc")) == (0, 0)


@pytest.mark.parametrize("after", ["left", "lost"])
@pytest.mark.parametrize("phase", ["reading", "connecting", "asking", "keeping"])
async def test_a_sender_that_is_being_made_when_the_session_ends(
    daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch, after: str, phase: str
) -> None:
    """It ends with the session, and so does who waits for it."""
    if phase != "keeping":
        await telegram.start(GramdSession("acc"))
    for limit in ("STOP_TIMEOUT", "LEAVE_TIMEOUT"):
        monkeypatch.setattr(stop, limit, 0.05)
    monkeypatch.setattr(telethon_senders, "ANSWER_WITHIN", None)
    keys = telethon_senders.DataCentreKeys
    reached, go = threading.Event(), threading.Event()
    then = {"reading": keys.get, "keeping": keys.keep}.get(phase)

    async def slow(*given: Any) -> Any:
        assert then is not None
        result = await then(*given)
        reached.set()
        await asyncio.to_thread(go.wait)
        return result

    if then is not None:
        monkeypatch.setattr(keys, then.__name__, slow)
    elif phase == "connecting":
        telegram.connecting = reached
    else:
        telegram.silent, telegram.asked = set(telegram.keys), reached
    used_then: list[Any] = []
    close = shared.close

    async def closing(*given: Any) -> None:
        used_then.extend(telegram.connected_with(kept))
        await close(*given)

    monkeypatch.setattr(shared, "close", closing)
    session = GramdSession("acc")
    client = TelegramClient(session, 12345, "0" * 32)
    await client.connect()
    borrowing = [asyncio.ensure_future(client._borrow_exported_sender(AWAY)) for _ in range(2)]
    await asyncio.to_thread(reached.wait)
    kept, opened = set(telegram.keys), session._opened.session
    if after == "left":
        opened.loop.call_soon_threadsafe(opened.leave, "the host hands its sessions over")
    else:
        opened.loop.call_soon_threadsafe(opened.end, gramd.Fenced("another host owns it"))
    while opened.ended is None or client.is_connected():
        await asyncio.sleep(0.005)
    telegram.used.clear()
    go.set()
    telegram.go.set()
    assert all(isinstance(each, OSError) for each in await asyncio.gather(*borrowing, return_exceptions=True))
    assert not used_then and not telegram.used & kept and not telegram.connected_with(kept)
    session.close()
    async with gramd.Client() as raw, await raw.open("acc") as stored:
        assert len(await stored.kv_scan("dc_key:")) == 1  # a good one is not forgotten


@pytest.mark.parametrize("how", ["a client fails", "two clients"])
async def test_nobody_uses_a_key_when_the_session_is_closed(
    daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async def fail(client: Any) -> None:
        raise OSError

    when_closed = asyncio.Event()
    connected_then: list[bool] = []
    loop, close = asyncio.get_running_loop(), shared.close

    async def observed(*given: Any) -> None:
        connected_then.append(any(sender.is_connected() for sender in senders))
        await close(*given)
        loop.call_soon_threadsafe(when_closed.set)

    session = GramdSession("acc")
    clients = [TelegramClient(session, 12345, "0" * 32) for _ in range(1 if how == "a client fails" else 2)]
    for client in clients:
        await client.connect()
    senders = [await client._borrow_exported_sender(AWAY) for client in clients]
    assert all(sender.is_connected() for sender in senders)
    monkeypatch.setattr(shared, "close", observed)
    if how == "a client fails":
        monkeypatch.setattr(TelegramClient, "_disconnect", fail)
    opened = session._opened.session
    opened.loop.call_soon_threadsafe(opened.leave, "the host hands its sessions over")
    await when_closed.wait()
    assert not any(connected_then)


async def test_who_is_connecting_when_the_session_is_lost_sends_nothing(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Telethon's own sender and connection: the client's own one, and one that it connects again."""
    go, connecting = asyncio.Event(), asyncio.Semaphore(0)
    received: asyncio.Queue[bytes] = asyncio.Queue()

    class Slow(ConnectionTcpFull):
        async def _connect(self, *given: Any, **named: Any) -> None:
            connecting.release()
            await go.wait()
            await super()._connect(*given, **named)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.put_nowait(await reader.read())  # until the client closes it
        writer.close()

    async def borrow() -> None:
        borrowed = await client._borrow_exported_sender(AWAY)
        borrowed.send(functions.PingRequest(1))

    server = await asyncio.start_server(serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    config = SimpleNamespace(dc_options=[types.DcOption(AWAY, "127.0.0.1", port)])
    monkeypatch.setattr(TelegramClient, "_config", config)
    monkeypatch.setattr(stop, "STOP_TIMEOUT", 0.05)
    async with gramd.Client() as raw, await raw.open("lost") as stored:
        await stored.set(dc_id=HOME, server_address="127.0.0.1", port=port, auth_key=KEY)
    lost = asyncio.Event()
    session = GramdSession("lost")
    client = TelegramClient(session, 12345, "0" * 32, connection=Slow)
    sender = MTProtoSender(AuthKey(KEY), loggers=client._log)
    client._borrowed_senders[AWAY] = _ExportState(), sender
    using = [asyncio.ensure_future(work) for work in (client.connect(), borrow())]
    for _ in using:
        await connecting.acquire()
    stopped, opened = session._stop, session._opened.session

    async def stopping(*given: Any) -> Any:
        done = await stopped(*given)
        lost.set()
        return done

    monkeypatch.setattr(session, "_stop", stopping)
    opened.loop.call_soon_threadsafe(opened.end, gramd.Fenced("another host owns it"))
    await lost.wait()
    go.set()
    assert [await received.get() for _ in using] == [b"", b""]
    assert isinstance((await asyncio.gather(*using, return_exceptions=True))[0], gramd.Fenced)
    server.close()
    session.close()


async def test_who_is_cancelled_leaves_no_connection(
    daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    senders: list[Any] = []
    keeping = threading.Event()
    answer = telegram.answer

    def observed(sender: Any, request: Any) -> Any:
        senders.append(sender)
        return answer(sender, request)

    async def keep(*_: Any) -> None:
        keeping.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(telegram, "answer", observed)
    monkeypatch.setattr(telethon_senders.DataCentreKeys, "keep", keep)
    async with connected(GramdSession("acc")) as client:
        borrowing = asyncio.ensure_future(client._borrow_exported_sender(AWAY))
        await asyncio.to_thread(keeping.wait)
        borrowing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await borrowing
        away = [sender for sender in senders if sender._away]
        assert away and not any(sender.is_connected() for sender in away)


async def test_further_arguments_are_passed_on() -> None:
    """A fork may have some."""

    class Client:
        async def _create_exported_sender(self, *given: Any, **named: Any) -> Any:
            return SimpleNamespace(given=(given, named), is_connected=lambda: True)

    telethon_senders.keep_keys("telethon", Client, lambda client: None)
    made = await Client()._create_exported_sender(AWAY, 1, cdn=True)
    assert made.given == ((AWAY, 1), {"cdn": True})


async def test_the_package_is_changed_once(daemon: Daemon) -> None:
    make = TelegramClient._create_exported_sender
    telethon_senders.keep_keys("telethon", TelegramClient, lambda client: None)
    assert TelegramClient._create_exported_sender is make


@pytest.mark.parametrize("cache", [True, False])
async def test_a_key_is_made_when_the_session_answers_nothing(daemon: Daemon, telegram: Telegram, cache: bool) -> None:
    lost = asyncio.Event()
    async with connected(GramdSession("acc", cache=cache, on_lost=lost.set)) as client:
        async with gramd.Client() as other:
            await (await other.open("acc", create=False)).delete()
        await lost.wait()
        assert (await client._borrow_exported_sender(AWAY)).is_connected()
        assert telegram.made == 1
        client.session.close()


async def test_a_client_without_an_area(
    daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert await telegram.start(GramdSession("plain", dc_keys=False)) == (1, 1)
    with monkeypatch.context() as older:
        older.setattr("gramd.caller.of_daemon", lambda _: frozenset())
        assert await telegram.start(GramdSession("plain")) == (1, 1)
    messages = [each.getMessage() for each in caplog.records]
    assert not [each for each in messages if "session plain" in each]  # those of tests before may still tell
    async with gramd.Client() as client, await client.open("plain") as raw:
        assert await raw.kv_scan("dc_key:") == []
