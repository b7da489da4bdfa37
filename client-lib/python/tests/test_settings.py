"""What the application has given to the library's Client beside a storage: another bot's token, parameters
that have no effect, a directory with a file of the library."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import Any, Optional

import pytest
from fake import FIELDS, FakeGramd, Refusal
from library import LIBRARY, App, storage

import gramd
from gramd import family
from gramd.stored import escaped, warn_once


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    warn_once.cache_clear()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def app_with(it: Any, **given: Any) -> App:
    app = App(it)
    for name, value in given.items():
        setattr(app, name, value)
    return app


def log_in(fake: FakeGramd, name: str, user_id: Optional[int]) -> None:
    fields = {**FIELDS, "auth_key": bytes(256), "user_id": user_id}
    fake.sessions[name] = {"fields": fields, "peers": {}, "usernames": {}, "states": {}}


# ---- two bots, one account ----


@pytest.mark.parametrize("token", ["222:AAA", " \n222:AAA"])
@pytest.mark.parametrize("cache", [True, False])
async def test_the_token_of_another_bot_is_refused(fake: FakeGramd, cache: bool, token: str) -> None:
    log_in(fake, "acc", 111)
    async with fake:
        it = storage(family.Storage, fake, cache=cache)
        app = app_with(it, bot_token=token)
        with pytest.raises(
            gramd.OtherAccount, match=r"session acc .*111.*222.*workdir.*delete\(\)"
        ) as caught:
            await it.open()
        assert "AAA" not in str(caught.value)
        assert not any(connection.handles for connection in fake.connections)
        app.bot_token = "111:BBB"  # type: ignore[attr-defined]
        await it.open()
        await it.close()


async def test_what_the_refusal_advises_works(fake: FakeGramd) -> None:
    made = type("GramdStorage", (family.Storage,), {"library": LIBRARY})
    it = made("acc", socket=fake.path, backend="memory", workdir="/srv/a-b")
    log_in(fake, it.name, 111)
    log_in(fake, "acc@srv-a-b", 111)  # what the name is, read as a text with escapes
    app = app_with(it, bot_token="222:AAA")
    with fake.elsewhere():
        with pytest.raises(gramd.OtherAccount) as caught:
            await it.open()
        advice = str(caught.value).partition("delete it first: ")[2]
        eval(advice)
        assert fake.seen[-1][0] == "delete"
        assert [params[1]["backend"] for method, params in fake.seen if method == "open"] == ["memory"] * 2
    assert list(fake.sessions) == ["acc@srv-a-b"] and app.is_connected


@pytest.mark.parametrize("token", [None, "", "no token", "1111", b"222:AAA"])
async def test_no_token_is_compared(fake: FakeGramd, token: Any) -> None:
    log_in(fake, "acc", 111)
    async with fake:
        it = storage(family.Storage, fake)
        app = app_with(it, bot_token=token)
        await it.open()
        await it.close()
        assert app.is_connected


@pytest.mark.parametrize(("user_id", "auth_key"), [(None, bytes(256)), (0, bytes(256)), (111, None)])
async def test_a_bot_may_log_in(fake: FakeGramd, user_id: Optional[int], auth_key: Optional[bytes]) -> None:
    log_in(fake, "acc", user_id)
    fake.sessions["acc"]["fields"]["auth_key"] = auth_key
    async with fake:
        it = storage(family.Storage, fake)
        app = app_with(it, bot_token="222:AAA")
        await it.open()
        await it.close()
        assert app.is_connected


async def test_the_client_of_another_storage_does_not_count(fake: FakeGramd) -> None:
    log_in(fake, "acc", 111)
    async with fake:
        it = storage(family.Storage, fake)
        app = app_with(storage(family.Storage, fake), bot_token="222:AAA")
        await it.open()
        await it.close()
        assert app.is_connected


# ---- names ----


def test_names(fake: FakeGramd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    def name(given: str, workdir: Any = None) -> str:
        made = type("GramdStorage", (family.Storage,), {})
        return str(made(given, workdir=workdir).name)

    assert name("bot") == name("bot.session") == "bot"
    assert name("bot", "/srv/bots/A") == name("bot.session", Path("/srv//bots/A/")) == "bot@srv-bots-A"
    assert name("bot", "A") == name("bot", tmp_path / "A") != name("bot", "B")
    assert len({name("bot", each) for each in ("/a/b", "/a-b", "/a\\x2db", "/a", "/", "/ä")}) == 6
    assert [escaped(each) for each in ("/", "/.a/.b", "/a-b", "/a b")] == [
        "-",
        "\\x2ea-.b",
        "a\\x2db",
        "a\\x20b",
    ]


async def test_two_directories_are_two_sessions(fake: FakeGramd) -> None:
    async with fake:
        for workdir in ("/srv/A", "/srv/B"):
            it = storage(family.Storage, fake, workdir=workdir)
            await it.open()
            await it.close()
    assert set(fake.sessions) == {"acc@srv-A", "acc@srv-B"}


async def test_a_session_that_was_stored_with_the_suffix_keeps_it(fake: FakeGramd) -> None:
    made = type("GramdStorage", (family.Storage,), {"library": LIBRARY})
    log_in(fake, "old.session", 1)
    log_in(fake, "both.session", 2)
    log_in(fake, "both", 3)
    async with fake:
        found = {}
        for name in ("old", "both", "new"):
            it = made(f"{name}.session", socket=fake.path)
            for _ in range(2):
                await it.open()
                found[name] = await it.user_id()
                await it.close()
        assert found == {"old": 1, "both": 3, "new": None}
        await made("old.session", socket=fake.path).delete()
    assert set(fake.sessions) == {"both.session", "both", "new"}


# ---- a session of this name on another backend ----


async def test_a_session_elsewhere(fake: FakeGramd, caplog: pytest.LogCaptureFixture) -> None:
    fake.twins = ["file", "mongo"]
    async with fake, gramd.Client(fake.path) as client:
        for _ in range(2):
            it = storage(family.Storage, fake, backend="memory")
            await it.open()
            await it.close()
        [said] = warnings(caplog)
        assert "session acc is new on memory" in said and 'backend="file" or backend="mongo"' in said
        assert (await client.open("acc")).elsewhere == []
        assert (await client.open("new")).elsewhere == ["file", "mongo"]


# ---- a file of the library ----


async def test_a_file_beside_a_new_session(
    fake: FakeGramd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "acc.session").touch()
    async with fake:
        it = storage(family.Storage, fake)
        app = app_with(it, workdir=tmp_path)
        for _ in range(2):
            await it.open()
            await it.close()
        [said] = warnings(caplog)
        assert str(tmp_path / "acc.session") in said and f"`gramctl --socket={fake.path} import acc`" in said
        warn_once.cache_clear()
        fake.sessions["acc"]["fields"]["auth_key"] = bytes(256)
        await it.open()
        await it.close()
        assert len(warnings(caplog)) == 1 and app.is_connected


async def test_a_file_in_the_storages_directory(
    fake: FakeGramd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "acc.session").touch()
    async with fake:
        it = storage(family.Storage, fake, workdir=tmp_path)
        await it.open()
        await it.close()
    [said] = warnings(caplog)
    assert f" import {shlex.quote(it.name)}`" in said


@pytest.mark.parametrize(
    ("backend", "advice"), [("mongo", " --backend=mongo import acc`"), ("memory", "`session_string`")]
)
async def test_a_file_beside_a_new_session_on_a_backend(
    fake: FakeGramd, tmp_path: Path, caplog: pytest.LogCaptureFixture, backend: str, advice: str
) -> None:
    (tmp_path / "acc.session").touch()
    async with fake:
        it = storage(family.Storage, fake, backend=backend)
        app = app_with(it, workdir=tmp_path)
        await it.open()
        await it.close()
    [said] = warnings(caplog)
    assert advice in said and ("gramctl" in said) == (backend == "mongo") and app.is_connected


async def test_no_file(fake: FakeGramd, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "another.session").touch()
    async with fake:
        it = storage(family.Storage, fake)
        app = app_with(it, workdir=tmp_path)
        await it.open()
        await it.close()
    assert not warnings(caplog) and app.is_connected


async def test_the_current_directory_was_deleted(
    fake: FakeGramd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    async with fake:
        it = storage(family.Storage, fake)
        app = app_with(it, workdir=Path())
        await it.open()
        await it.close()
    assert not warnings(caplog) and app.is_connected


# ---- parameters without effect ----


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ({"session_string": "secret"}, {"session_string": "secret"}),
        ({"session_string": "secret", "in_memory": True}, {"session_string": "secret"}),
        ({"in_memory": True}, {"backend": "memory", "linger": 600}),
        ({"mongodb": {"connection": 1}}, {"backend": "mongo"}),
    ],
)
async def test_a_parameter_without_effect(
    fake: FakeGramd, caplog: pytest.LogCaptureFixture, given: dict[str, Any], instead: dict[str, Any]
) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        app = app_with(it, **given)
        for _ in range(2):
            await it.open()
            await it.close()
        [said] = warnings(caplog)
        [parameter, *_], [option, *_] = given, instead
        assert f"`{parameter}`" in said and f"`{option}=" in said and "secret" not in said
        it = app.storage = storage(family.Storage, fake, **instead)
        warn_once.cache_clear()
        await it.open()
        await it.close()
        assert len(warnings(caplog)) == 1


async def test_memory_lingers(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake, backend="memory", linger=600)
        await it.open()
        await it.close()
    [options] = [params[1] for method, params in fake.seen if method == "open"]
    assert (options["backend"], options["linger"]) == ("memory", 600)


# ---- refused session strings ----


async def test_a_refused_string_leaves_no_session(fake: FakeGramd) -> None:
    async with fake:
        fake.faults = [("import_string", Refusal("bad_request"))]
        with pytest.raises(gramd.BadRequest):
            await storage(family.Storage, fake, session_string="wrong").open()
        assert not fake.sessions


@pytest.mark.parametrize("code", ["unavailable", "storage"])
async def test_a_string_that_may_be_stored_later_leaves_the_session(fake: FakeGramd, code: str) -> None:
    async with fake:
        fake.faults = [("import_string", Refusal(code))]
        with pytest.raises(gramd.Error):
            await storage(family.Storage, fake, session_string="right").open()
        assert list(fake.sessions) == ["acc"]


async def test_a_refused_string_leaves_a_stored_session(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        await (await client.open("acc")).close()
        fake.faults = [("import_string", Refusal("bad_request"))]
        with pytest.raises(gramd.BadRequest):
            await storage(family.Storage, fake, session_string="wrong").open()
        assert list(fake.sessions) == ["acc"]


async def test_a_refused_string_leaves_a_session_that_others_have_open(
    fake: FakeGramd, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake, gramd.Client(fake.path) as client:
        refuse = gramd.Session.import_string

        async def import_string(session: gramd.Session, text: str) -> Any:
            await client.open("acc", create=False)
            return await refuse(session, text)

        monkeypatch.setattr(gramd.Session, "import_string", import_string)
        fake.faults = [("import_string", Refusal("bad_request"))]
        with pytest.raises(gramd.BadRequest):
            await storage(family.Storage, fake, session_string="wrong").open()
        assert list(fake.sessions) == ["acc"]
