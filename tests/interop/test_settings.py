"""What the storage finds in the settings of the real Client: the token of another bot, parameters that have no effect, a
directory with the library's own file."""

from __future__ import annotations

import logging
from pathlib import Path

import gramd
import pytest

import library
import offline
from daemon import Daemon
from library import NAME, GramdStorage, client_with, lib, ours, own_storage

offline.patch()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name.startswith("gramd")]


async def log_in(name: str, user_id: int) -> None:
    async with gramd.Client() as client, await client.open(name) as session:
        await session.set(api_id=1, auth_key=offline.KEY, user_id=user_id, is_bot=True, test_mode=False)


async def test_two_bots_do_not_share_an_account(daemon: Daemon, tmp_path: Path) -> None:
    await log_in("bot", offline.ME)
    first = client_with(GramdStorage("bot"), workdir=tmp_path, bot_token=f"{offline.ME}:AAA")
    second = client_with(GramdStorage("bot"), workdir=tmp_path / "B", bot_token="888:BBB")
    await first.connect()
    with pytest.raises(gramd.OtherAccount, match=rf"{offline.ME}.*888"):
        await second.connect()
    await first.disconnect()
    apart = client_with(GramdStorage("bot", workdir=tmp_path / "B"), workdir=tmp_path / "B", bot_token="888:BBB")
    assert not await apart.connect()  # a session of its own, which is not logged in
    await apart.disconnect()


async def test_a_file_of_the_library_beside_a_new_session(
    daemon: Daemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = own_storage("bot", tmp_path)
    await own.open()
    await own.close()
    app = client_with(GramdStorage("bot.session"), workdir=tmp_path)
    await app.connect()
    await app.disconnect()
    [said] = warnings(caplog)
    assert str(tmp_path / "bot.session") in said and "gramctl import bot" in said


IGNORES_THE_STORAGE = NAME in ("hydrogram", "irenogram", "kurigram")


@pytest.mark.skipif(IGNORES_THE_STORAGE, reason="with these parameters the library ignores the storage")
async def test_parameters_without_effect(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    app = client_with(GramdStorage("quiet"), in_memory=True)
    await app.connect()
    await app.disconnect()
    [said] = warnings(caplog)
    assert "`in_memory`" in said and 'backend="memory"' in said
    await log_in("full", 5)
    async with gramd.Client() as client, await client.open("full") as session:
        text = await session.export_string()
    app = client_with(GramdStorage("strung"), session_string=text)
    assert not await app.connect()
    await app.disconnect()
    assert "`session_string`" in warnings(caplog)[-1] and text not in warnings(caplog)[-1]


@pytest.mark.skipif(NAME != "pyrogram", reason="`attach` is for Pyrogram")
async def test_attach_in_memory(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    app = library.client("attached", in_memory=True)
    ours.attach(app)
    await app.connect()
    await app.disconnect()
    assert any("`in_memory`" in line for line in warnings(caplog))
    app = library.client("in memory", in_memory=True)
    before = len(warnings(caplog))
    ours.attach(app, backend="memory", linger=60)
    await app.connect()
    await app.storage.user_id(5)
    await app.storage.is_bot(False)
    await app.disconnect()
    await app.connect()  # it lives on
    assert await app.storage.user_id() == 5 and len(warnings(caplog)) == before
    await app.disconnect()


async def test_a_session_on_another_backend(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    await log_in("twin", offline.ME)
    app = client_with(GramdStorage("twin", backend="memory"))
    assert not await app.connect()
    await app.disconnect()
    [said] = warnings(caplog)
    assert "twin is new on memory" in said and 'backend="file"' in said


async def test_a_refused_session_string_leaves_no_session(daemon: Daemon) -> None:
    app = client_with(GramdStorage("new", session_string="no session string"))
    with pytest.raises(gramd.BadRequest):
        await app.connect()
    async with gramd.Client() as client:
        assert await client.sessions() == []
    assert isinstance(app, lib.Client)
