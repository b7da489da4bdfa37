"""Keys of other data centres: a second start, and a second process, of a TelegramClient make none. Telegram's side is
replaced."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gramd
import pytest
from gramd import shared, telethon_senders
from gramd.telethon import GramdSession
from telethon import TelegramClient, errors
from telethon.network import MTProtoSender
from telethon.sessions import SQLiteSession
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

    def patch(self, put: Any) -> None:
        telegram = self

        async def connect(sender: Any, connection: Any) -> bool:
            sender._away = connection._dc_id == AWAY
            if not sender.auth_key:
                sender.auth_key.key = telegram.make() if sender._away else KEY
            sender._user_connected = True
            return True

        def send(sender: Any, request: Any, ordered: bool = False) -> Any:
            future = asyncio.get_running_loop().create_future()
            try:
                if sender.auth_key.key.hex() not in telegram.silent:
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


@pytest.mark.parametrize("how", ["unknown", "not authorised", "not answered"])
async def test_a_refused_key_is_made_anew(
    daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    assert await telegram.start(GramdSession("acc")) == (1, 1)
    if how == "not answered":
        monkeypatch.setattr(telethon_senders, "ANSWER_WITHIN", 0.05)
        telegram.silent = set(telegram.keys)
    else:
        telegram.keys = dict.fromkeys(telegram.keys, False) if how == "not authorised" else {}
    assert await telegram.start(GramdSession("acc")) == (1, 1)
    assert await telegram.start(GramdSession("acc")) == (0, 0)


async def test_a_new_login_makes_a_new_key(daemon: Daemon, telegram: Telegram) -> None:
    assert await telegram.start(GramdSession("acc")) == (1, 1)
    async with gramd.Client() as client, await client.open("acc") as raw:
        await raw.set(auth_key=bytes(255) + b"1")
    assert await telegram.start(GramdSession("acc")) == (1, 1)
    assert await telegram.start(GramdSession("acc")) == (0, 0)


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
    assert await telegram.start(GramdSession("acc", dc_keys=False)) == (1, 1)
    with monkeypatch.context() as older:
        older.setattr("gramd.caller.of_daemon", lambda _: frozenset())
        assert await telegram.start(GramdSession("acc")) == (1, 1)
    assert not caplog.records
    async with gramd.Client() as client, await client.open("acc") as raw:
        assert await raw.kv_scan("dc_key:") == []
