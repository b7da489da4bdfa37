"""The key of another data centre is made once, and used at the next start and by a second client. With the real Client,
from its Session down to the connection's bytes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import gramd
import pytest

import own
from daemon import Daemon

if not own.TELETHON:
    from gramd import family, family_keys

    import library
    import offline
    from library import GramdStorage, lib, raw
    from offline_telegram import OWN_DC, Telegram


@pytest.fixture
def telegram(monkeypatch: pytest.MonkeyPatch) -> Any:
    return Telegram(monkeypatch)


@contextlib.asynccontextmanager
async def running(telegram: Any, **options: Any) -> AsyncIterator[Any]:
    """A Client that is logged in."""
    app = library.client_with(GramdStorage("acc", **options))
    telegram.serve(app)
    await app.connect()
    await app.storage.user_id(offline.ME)
    telegram.authorised.add(await app.storage.auth_key())
    await app.storage.is_bot(False)
    await app.initialize()
    try:
        yield app
    finally:
        await app.stop()


def parts_of_file(app: Any, dc_id: int) -> Any:
    kind = lib.file_id.FileType.DOCUMENT
    file = lib.file_id.FileId(file_type=kind, dc_id=dc_id, media_id=1, access_hash=2, file_reference=b"r")
    return app.get_file(file)


async def download(app: Any, dc_id: int) -> None:
    assert [part async for part in parts_of_file(app, dc_id)] == [b"file"]


if not own.TELETHON:

    async def test_a_second_start_makes_no_key(daemon: Daemon, telegram: Telegram) -> None:
        async with running(telegram) as app:
            for dc_id in (2, 4, 4, 5):
                await download(app, dc_id)
            assert telegram.counts() == {"keys": [2, 4, 5], "exports": 2}
            async with running(telegram) as other:
                await download(other, 4)
                await download(other, 5)
        for cache in (True, False):
            async with running(telegram, cache=cache) as app:
                for dc_id in (2, 4, 5):
                    await download(app, dc_id)
        assert telegram.counts() == {"keys": [2, 4, 5], "exports": 2}

    async def test_a_key_that_the_server_has_forgotten(daemon: Daemon, telegram: Telegram) -> None:
        async with running(telegram) as app:
            await download(app, 4)
            await download(app, 5)
        telegram.forget_keys(4)
        for _ in range(2):
            async with running(telegram) as app:
                await download(app, 4)
                await download(app, 5)
        assert telegram.counts() == {"keys": [2, 4, 5, 4], "exports": 3}

    async def test_files_at_once_share_a_key(daemon: Daemon, telegram: Telegram) -> None:
        for refused in (False, True):
            async with running(telegram) as app:
                app.get_file_semaphore = asyncio.Semaphore(3)
                await asyncio.gather(*(download(app, 4) for _ in range(3)))
            assert telegram.counts() == {"keys": [2, 4] + [4] * refused, "exports": 1 + refused}
            telegram.forget_keys(4)

    @pytest.mark.parametrize(
        ("request_name", "code", "error"),
        [
            ("GetFile", 401, "AUTH_KEY_UNREGISTERED"),
            ("GetFile", 401, "SESSION_REVOKED"),
            ("GetConfig", 406, "AUTH_KEY_DUPLICATED"),
        ],
    )
    async def test_a_key_that_the_server_refuses(
        daemon: Daemon, telegram: Telegram, request_name: str, code: int, error: str
    ) -> None:
        async with running(telegram) as app:
            await download(app, 4)
        for _ in range(2):
            telegram.refusals[request_name] = code, error
            async with running(telegram) as app:
                await download(app, 4)
            async with running(telegram) as app:
                await download(app, 4)
        assert telegram.counts() == {"keys": [2, 4, 4, 4], "exports": 3}

    @pytest.mark.parametrize("unknown", [True, False])
    async def test_a_key_that_is_refused_while_it_is_used(daemon: Daemon, telegram: Telegram, unknown: bool) -> None:
        async with running(telegram) as app, running(telegram) as other:
            await download(app, 4)
            await download(other, 4)
            for key in app.storage.data_centres._keys.values():
                key.made -= family_keys.AGAIN
            if unknown:
                telegram.forget_keys(4)
            else:
                telegram.authorised.clear()
            app.get_file_semaphore = asyncio.Semaphore(3)
            await asyncio.gather(*(download(app, 4) for _ in range(3)))
            await download(other, 4)
            # A late acknowledgement of `other` may meet the refusal before the new key is kept: it makes one, too.
            assert telegram.made in ([2, 4, 4], [2, 4, 4, 4]) and telegram.exports in (2, 3)

    @contextlib.asynccontextmanager
    async def sessions_of_other(app: Any) -> AsyncIterator[list[Any]]:
        """Those to which a file is coming: of Kurigram two."""
        parts = parts_of_file(app, 4)
        assert await parts.__anext__() == b"file"
        yield [each for each in app.storage.data_centres._sessions if each.dc_id == 4]
        await parts.aclose()

    def connected(telegram: Telegram) -> list[int]:
        return [each._dc_id for each in telegram.connections if each.protocol.is_connected]

    async def test_restarts_at_once_leave_one_connection(daemon: Daemon, telegram: Telegram) -> None:
        async with running(telegram) as app, sessions_of_other(app) as sessions:
            before = connected(telegram)
            await asyncio.gather(*(each.restart() for each in sessions for _ in range(3)))
            assert connected(telegram) == before
        assert not telegram.connected()

    async def test_a_restart_serves_who_asks_while_it_connects(daemon: Daemon, telegram: Telegram) -> None:
        async with running(telegram) as app, sessions_of_other(app) as [session, *_]:
            made = len(telegram.connections)
            telegram.silent = "connect"
            first = asyncio.ensure_future(session.restart())
            await telegram.asked.wait()
            second = asyncio.ensure_future(session.restart())
            await asyncio.sleep(0)
            telegram.silent = ""
            telegram.go.set()
            await asyncio.gather(first, second)
            assert len(telegram.connections) == made + 1

    async def test_a_restart_goes_on_when_one_who_waits_for_it_is_cancelled(daemon: Daemon, telegram: Telegram) -> None:
        async with running(telegram) as app, sessions_of_other(app) as sessions:
            before = connected(telegram)
            first, second = ([asyncio.ensure_future(each.restart()) for each in sessions] for _ in range(2))
            await asyncio.sleep(0)
            for each in first:
                each.cancel()
            await asyncio.gather(*second)
            assert all(each.cancelled() for each in first) and connected(telegram) == before

    async def test_a_restart_fails_for_all_who_wait_for_it(
        daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def failing(session: Any) -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError

        monkeypatch.setattr(offline.session_module.Session, "restart", failing)
        async with running(telegram) as app, sessions_of_other(app) as [session, *_]:
            errors = await asyncio.gather(session.restart(), session.restart(), return_exceptions=True)
            assert [type(each) for each in errors] == [ZeroDivisionError] * 2

    async def test_what_is_asked_for_when_a_restart_is_through_is_another_one(
        daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The connection may be lost again, or the session's address be another one now, while a handler of the
        application runs within the first restart."""
        kind = offline.session_module.Session
        restart, handling, go = kind.restart, asyncio.Event(), asyncio.Event()

        async def slow(session: Any) -> None:
            await restart(session)
            handling.set()
            await go.wait()

        monkeypatch.setattr(kind, "restart", slow)
        if hasattr(kind, "RECONNECT_THRESHOLD"):  # some libraries wait between two restarts
            monkeypatch.setattr(kind, "RECONNECT_THRESHOLD", type(kind.RECONNECT_THRESHOLD)(0))
        async with running(telegram) as app, sessions_of_other(app) as [session, *_]:
            first = asyncio.ensure_future(session.restart())
            await handling.wait()
            connection = session.connection
            second = asyncio.ensure_future(session.restart())
            await asyncio.sleep(0)
            go.set()
            await asyncio.gather(first, second)
            assert session.connection is not connection

    @pytest.mark.parametrize("without", ["the option", "the feature"])
    async def test_nothing_is_kept(
        daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch, without: str
    ) -> None:
        if without == "the feature":
            monkeypatch.setattr(family, "KV", "missing")
        for _ in range(2):
            async with running(telegram, dc_keys=without != "the option") as app:
                await download(app, 4)
        assert telegram.counts()["keys"] == [2, 4, 4]
        async with gramd.Client() as client, await client.open("acc") as session:
            assert await session.kv_scan() == []

    async def test_a_new_login_has_new_keys(daemon: Daemon, telegram: Telegram) -> None:
        async with running(telegram) as app:
            await download(app, 4)
            await app.storage.user_id(1)
        async with running(telegram) as app:
            await app.storage.user_id(1)
            await download(app, 4)
        assert telegram.counts() == {"keys": [2, 4, 4], "exports": 2}

    async def test_a_new_key_that_is_refused_stays(daemon: Daemon, telegram: Telegram) -> None:
        async with running(telegram) as app:
            await download(app, 4)
            telegram.refusals["GetFile"] = 401, "SESSION_REVOKED"
            with pytest.raises((AssertionError, lib.errors.Unauthorized)):  # some libraries only log the error
                await download(app, 4)
            await download(app, 4)
        assert telegram.counts() == {"keys": [2, 4], "exports": 1}

    async def test_a_key_that_nobody_authorises_is_not_kept(daemon: Daemon, telegram: Telegram) -> None:
        """That of a content delivery network. But the process makes it only once."""

        async def make() -> bytes:
            await asyncio.sleep(0)
            return telegram.new_key(203)

        auth = SimpleNamespace(dc_id=203, test_mode=False)
        async with running(telegram) as app:
            keys = await asyncio.gather(*(app.storage.data_centres.create(auth, make) for _ in range(2)))
            assert keys[0] == keys[1] and telegram.counts() == {"keys": [2, 203], "exports": 0}
            async with gramd.Client() as client, await client.open("acc") as session:
                assert await session.kv_scan() == []

    @pytest.mark.parametrize("dc_keys", [True, False])
    @pytest.mark.parametrize("dc_id", [2, 4])
    async def test_nobody_uses_a_key_when_the_session_is_closed(
        daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch, dc_id: int, dc_keys: bool
    ) -> None:
        when_closed = []
        close = family.shared.close

        async def observed(*given: Any) -> None:
            when_closed.append(telegram.connected())
            await close(*given)

        async with running(telegram, dc_keys=dc_keys) as app:
            monkeypatch.setattr(family.shared, "close", observed)
            parts = parts_of_file(app, dc_id)
            assert await parts.__anext__() == b"file" and dc_id in telegram.connected()
        assert when_closed == [set()]
        await parts.aclose()

    @pytest.mark.parametrize("phase", ["get", "connect", "Ping", "GetConfig"])
    async def test_a_session_that_starts_while_the_storage_is_closed(
        daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch, phase: str
    ) -> None:
        async with running(telegram) as app:
            await download(app, 4)
        get = family.DataCentreKeys.get

        async def slow(*given: Any) -> Any:
            key = await get(*given)
            telegram.asked.set()
            await telegram.go.wait()
            return key

        if phase == "get":
            monkeypatch.setattr(family.DataCentreKeys, "get", slow)
        telegram.silent = phase
        async with running(telegram) as app:
            downloading = asyncio.ensure_future(download(app, 4))
            await telegram.asked.wait()
        telegram.silent = ""
        telegram.used.clear()
        telegram.go.set()
        await asyncio.wait([downloading])
        assert downloading.exception() is not None  # some libraries only log the error
        assert not telegram.used and not telegram.connected()

    async def test_a_session_from_before_a_reopening_ends_with_the_second_closing(
        daemon: Daemon, telegram: Telegram
    ) -> None:
        telegram.silent = "connect"
        async with running(telegram) as app:
            downloading = asyncio.ensure_future(download(app, 4))
            await telegram.asked.wait()
        await app.connect()
        telegram.silent = "GetFile"
        telegram.asked.clear()
        telegram.go.set()
        asking = asyncio.ensure_future(telegram.asked.wait())
        await asyncio.wait([downloading, asking], return_when=asyncio.FIRST_COMPLETED)
        if asking.done():  # some libraries give up before
            assert 4 in telegram.connected()
        asking.cancel()
        await app.storage.close()
        assert 4 not in telegram.connected()
        downloading.cancel()  # some libraries would wait for the session's next start
        await asyncio.wait([downloading])

    @pytest.mark.parametrize("how", ["lost", "closed"])
    async def test_a_main_session_that_connects_again_sends_nothing_after_the_end(
        daemon: Daemon, telegram: Telegram, how: str
    ) -> None:
        with contextlib.suppress(ConnectionError):  # a lost session has stopped the client
            async with running(telegram) as app:
                [main] = [each for each in telegram.connections if each._dc_id == OWN_DC]
                telegram.is_away = True
                telegram.tried.clear()
                main.fail()
                await telegram.tried.wait()
                if how == "lost":
                    app.storage._session.end(gramd.Fenced("another host owns it"))
                    while app.storage._session is not None:
                        await asyncio.sleep(0.005)
        telegram.used.clear()
        telegram.is_away = False
        telegram.tried.clear()
        with contextlib.suppress(asyncio.TimeoutError):  # Kurigram does not try again
            await asyncio.wait_for(telegram.tried.wait(), 1)
        while telegram.connected():
            await asyncio.sleep(0.005)
        assert not telegram.used

    async def test_a_client_that_hangs_has_no_connections(
        daemon: Daemon, telegram: Telegram, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with running(telegram) as app:
            parts = parts_of_file(app, 4)
            assert await parts.__anext__() == b"file"
            assert telegram.connected() == {2, 4}
            with monkeypatch.context() as hanging:
                hanging.setattr(app, "stop", asyncio.Event().wait)
                assert await family.stop_clients(app.storage, 0.05)
            assert telegram.connected() == set()
            await parts.aclose()

    async def test_the_package_is_changed_once(daemon: Daemon, telegram: Telegram) -> None:
        kinds = offline.auth_module.Auth, offline.session_module.Session
        before = [kind.__init__ for kind in kinds]
        family_keys.step_in(own.MODULE)
        assert before == [kind.__init__ for kind in kinds]
        async with running(telegram) as app:
            await download(app, 4)
        assert telegram.counts() == {"keys": [2, 4], "exports": 1}

    async def test_keys_are_not_shown(daemon: Daemon, telegram: Telegram, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "gramd")
        for _ in range(2):
            async with running(telegram) as app:
                await download(app, 4)
                centres = app.storage.data_centres
                kept = [each.recv for each in telegram.connections]
                seen = repr([app.storage, vars(centres), *centres._keys.values(), *kept])
            telegram.forget_keys(4)
        seen += "".join(f"{each.getMessage()} {each.args}" for each in caplog.records if each.name.startswith("gramd"))
        assert "data centre 4" in seen
        for key in telegram.every_key:
            assert repr(key)[2:40] not in seen and key.hex() not in seen

    async def test_the_applications_own_export_is_sent(daemon: Daemon, telegram: Telegram) -> None:
        async with running(telegram) as app:
            await download(app, 4)
            exported = await app.invoke(raw.functions.auth.ExportAuthorization(dc_id=4))
            assert exported.bytes and telegram.exports == 2
