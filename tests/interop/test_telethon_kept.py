"""Display names and sent files in Telethon's session: kept across restarts, for all processes, within bounds."""

from __future__ import annotations

import os
import pwd
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gramd
import pytest
from gramd import unsaved
from gramd.telethon import GramdSession
from telethon.tl import types

from conftest import python
from daemon import Daemon
from offline_telethon import channel, met, user
from test_owner import as_user, let_everybody_in

MD5 = bytes(range(16))


def found(session: Any, name: str) -> Any:
    """The id that a look-up finds."""
    row = session.get_entity_rows_by_name(name)
    return row and row[0]


@pytest.fixture
def raw(daemon: Daemon) -> Iterator[gramd.SyncSession]:
    with gramd.SyncClient() as client, client.open("acc") as session:
        yield session


def test_after_a_restart(daemon: Daemon) -> None:
    session = GramdSession("acc")
    session.process_entities(met(user(7, first_name="Ann", last_name="Lee"), channel(8, "News of the day")))
    session.cache_file(MD5, 1000, types.InputPhoto(1, -2, b"photo"))
    session.close()
    daemon.stop()
    daemon.start()
    assert session.get_input_entity("Ann Lee") == types.InputPeerUser(7, 70)
    assert session.get_input_entity("News of the day") == types.InputPeerChannel(8, 80)
    assert session.get_file(MD5, 1000, types.InputPhoto) == types.InputPhoto(1, -2, b"photo")
    assert session.get_file(MD5, 1000, types.InputDocument) is None
    assert session.delete()
    assert found(session, "Ann Lee") is None and session.get_file(MD5, 1000, types.InputPhoto) is None
    session.close()


OTHER = """
import sys
from gramd.telethon import GramdSession
from telethon.tl import types
session = GramdSession("acc")
for line in sys.stdin:
    do, _, name = line.strip().partition(" ")
    if do == "meet":
        person = types.User(1, access_hash=10, first_name=name)
        session.process_entities(types.contacts.ResolvedPeer(None, [], [person]))
        session.save()
    row = session.get_entity_rows_by_name(name)
    print(row and row[0], flush=True)
session.close()
"""


def test_two_processes(daemon: Daemon, raw: gramd.SyncSession) -> None:
    session = GramdSession("acc")
    with subprocess.Popen(python("-c", OTHER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None

        def ask(line: str) -> str:
            print(line, file=other.stdin, flush=True)
            return other.stdout.readline().strip()

        session.process_entities(met(user(1, first_name="old")))
        session.save()
        assert ask("find old") == "1"
        for _ in range(3):
            assert ask("meet new") == "1"
            assert ask("find old") == "None"
            assert found(session, "new") == 1 and found(session, "old") is None
            session.process_entities(met(user(1, first_name="old")))
            assert found(session, "old") == 1 and found(session, "new") is None
            session.save()
        other.stdin.close()
        assert other.wait() == 0
    session.close()
    assert len(raw.kv_scan("telethon:name")) == 2  # nothing is left of the other names


def test_unsaved_names_are_found(daemon: Daemon) -> None:
    session = GramdSession("acc", cache=False)
    for n in range(50):
        session.process_entities(met(user(2, first_name=f"a{n}"), user(3, first_name=f"a{n - 1}")))
        session.cache_file(MD5, 1, types.InputDocument(n, n, b""))
        assert [found(session, f"a{each}") for each in (n, n - 1, n - 2)] == [2, 3, None]
        assert session.get_file(MD5, 1, types.InputDocument).id == n
    session.close()


def test_names_are_sent_together(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsaved, "KEPT_AFTER", 1000)
    session = GramdSession("acc")
    seen: list[str] = []
    with gramd.SyncClient() as client:
        client.monitor(lambda request: seen.append(request["method"]))
        for n in range(1, 50):
            session.process_entities(met(user(n, first_name=f"Person {n}")))
            session.cache_file(MD5, n, types.InputDocument(n, n, b""))
            assert session.get_input_entity(n) == types.InputPeerUser(n, n * 10)
        assert not [method for method in seen if method.startswith("kv")]
        session.save()
        client.ping()
        assert sorted(method for method in seen if method.startswith("kv")) == ["kv_get", "kv_scan", "kv_set", "kv_set"]
    session.close()


def test_names_are_sent_in_time(daemon: Daemon, raw: gramd.SyncSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsaved, "KEPT_AFTER", 0.05)
    session = GramdSession("acc")
    for name in ("old", "new"):
        session.process_entities(met(user(1, first_name=name)))
        give_up = time.monotonic() + 20
        while [value for _, value in raw.kv_scan("telethon:name:")] != [name.encode()]:
            assert time.monotonic() < give_up
    session.close()


@pytest.mark.parametrize("cache", [True, False])
def test_of_two_names_in_one_batch_the_last_counts(daemon: Daemon, cache: bool) -> None:
    session = GramdSession("acc", cache=cache)
    now, before = user(2, first_name="now"), user(2, first_name="before")
    before.access_hash = 1
    for _ in range(2):
        session.process_entities(met(before, now))
        session.save()
        assert session.get_entity_rows_by_name("now") == (2, 20)
        assert found(session, "before") is None
    session.close()


def test_what_is_written_while_the_daemon_is_away(daemon: Daemon) -> None:
    session = GramdSession("acc")
    session.process_entities(met(user(1, first_name="old")))
    session.save()
    daemon.kill()
    while session._opened.session.handle is not None:
        time.sleep(0.005)
    session.process_entities(met(user(1, first_name="new")))
    session.cache_file(MD5, 1, types.InputDocument(1, 2, b""))
    daemon.start()
    assert [found(session, name) for name in ("old", "new")] == [None, 1]
    assert session.get_file(MD5, 1, types.InputDocument) == types.InputDocument(1, 2, b"")
    session.close()


def test_damaged_values(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    session = GramdSession("damaged")
    session.process_entities(met(user(1, first_name="Ann"), user(2, first_name="Bo")))
    session.cache_file(MD5, 1, types.InputDocument(1, 2, b""))
    session.close()
    daemon.stop()
    with sqlite3.connect(daemon.data / "damaged.session") as db:
        db.execute("UPDATE gramd_kv SET value = 7 WHERE CAST(value AS TEXT) = 'Ann' OR CAST(key AS TEXT) GLOB '*:file:*'")
    db.close()
    daemon.start()
    assert [found(session, name) for name in ("Ann", "Bo")] == [None, 2]
    assert session.get_file(MD5, 1, types.InputDocument) is None
    session.process_entities(met(user(1, first_name="Ann"), user(2, first_name="Lee")))
    session.cache_file(MD5, 1, types.InputDocument(1, 2, b""))
    assert [found(session, name) for name in ("Ann", "Bo", "Lee")] == [1, None, 2]
    assert session.get_file(MD5, 1, types.InputDocument) == types.InputDocument(1, 2, b"")
    session.close()
    assert [line for line in said(caplog, "damaged") if "telethon:name" in line]


def test_without_display_names(daemon: Daemon, raw: gramd.SyncSession) -> None:
    session = GramdSession("acc", display_names=False)
    session.process_entities(met(user(1, first_name="Ann")))
    session.cache_file(MD5, 1, types.InputDocument(1, 2, b""))
    assert found(session, "Ann") is None
    session.close()
    assert [key for key, _ in raw.kv_scan()] == [f"telethon:file:0:1:{MD5.hex()}"]


def test_names_that_are_known_cost_nothing(daemon: Daemon) -> None:
    session = GramdSession("acc")
    people = [user(n, first_name=f"Person {n % 50}") for n in range(1, 200)]
    with gramd.SyncClient() as client:

        def cost(*entities: Any) -> int:
            def asked() -> int:
                [us] = [each for each in client.clients() if "acc" in each["sessions"]]
                return int(us["requests"])

            before = asked()
            session.process_entities(list(entities))
            session.save()
            return asked() - before - 1

        assert session.auth_key is None  # opens it
        assert cost(*people) <= 4  # update_peers, kv_get, kv_set; once kv_scan, to learn how much room there is
        assert cost(*people) == 0
        assert cost(*people[:-1], user(199, first_name="Another")) == 2
    assert [found(session, name) for name in ("Another", "Person 49", "Person 0")] == [199, 49, 50]
    session.close()


def names_in(raw: gramd.SyncSession, prefix: str = "telethon:") -> list[tuple[str, bytes]]:
    rows = page = raw.kv_scan(prefix)
    while page:
        page = raw.kv_scan(prefix, page[-1].key)
        rows += page
    return rows


@contextmanager
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *flags: str) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, *flags)
    daemon.start()
    monkeypatch.setenv("GRAMD_SOCKET", daemon.socket)
    try:
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon whose sessions have a small key-value area."""
    with running(tmp_path, monkeypatch, "--kv-max", "200k") as daemon:
        yield daemon


def test_names_are_kept_again_when_there_is_room(small: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    kv_set = gramd.Session.kv_set

    async def observed(session: gramd.Session, rows: Any, *rest: Any) -> Any:
        sent.extend(rows)
        return await kv_set(session, rows, *rest)

    session = GramdSession("again")
    with gramd.SyncClient() as client, client.open("again") as raw:
        session.save()
        raw.kv_set([[f"mine{n}", bytes(49_900)] for n in range(4)])
        session.process_entities([user(n, first_name=f"{n}" + "x" * 400) for n in range(1, 51)])
        session.save()
        with monkeypatch.context() as watched:
            watched.setattr(gramd.Session, "kv_set", observed)
            session.process_entities([user(99, first_name="Ann")])
            session.save()
        assert found(session, "Ann") is None and sent == []
        raw.kv_set([[f"mine{n}", None] for n in range(4)])
        raw.save()
        small.stop()
        small.start()
        session.process_entities([user(99, first_name="Bo")])
        session.save()
        assert found(session, "Bo") == 99
    session.close()


def said(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """The lines of the log on this session. Some are logged once in a process, so each test has a session of its own."""
    lines = [record.getMessage() for record in caplog.records]
    return [line for line in lines if f"session {name} " in line]


def test_names_take_half_of_the_area(small: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    session = GramdSession("half")
    for first in range(1, 5001, 100):
        session.process_entities([user(n, first_name=f"Person {n}") for n in range(first, first + 100)])
        if first % 500 == 1:
            session.close()  # from then on it knows how many there are from a sample
    session.save()
    assert said(caplog, "half") == ["session half has no room for further display names"]
    with gramd.SyncClient() as client, client.open("half") as raw:
        rows = names_in(raw)
        taken = sum(len(key) + len(value) for key, value in rows)
        assert 70_000 < taken < 130_000
        assert raw.info()["peers"] == 5000
        raw.kv_set([["mine", bytes(60_000)]])
    kept = [int(value.split()[1]) for key, value in rows if value]
    lost = next(n for n in range(1, 5001) if n not in kept)
    n = kept[0]
    assert found(session, f"Person {n}") == n and found(session, f"Person {lost}") is None
    session.process_entities([user(n, first_name="A name that is longer than the former one")])
    assert found(session, f"Person {n}") is None
    session.process_entities([user(kept[1], first_name="Short")])
    assert found(session, "Short") == kept[1]
    session.close()


def test_an_area_that_is_full(small: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    session = GramdSession("full")
    session.process_entities([user(1, first_name="Ann"), user(2, first_name="Bo")])
    session.save()
    with gramd.SyncClient() as client, client.open("full") as raw:
        left = 200 * 1024 - sum(len(key) + len(value) for key, value in names_in(raw))
        raw.kv_set([[f"mine {n}", bytes(left // 4 - 10)] for n in range(4)])
    for _ in range(2):
        session.process_entities([user(1, first_name="Ann of another name"), user(3, first_name="Zoe of no place")])
        session.cache_file(MD5, 1, types.InputDocument(1, 2, b"x" * 100))
        session.save()
    names = ("Ann", "Ann of another name", "Bo", "Zoe of no place")
    assert [found(session, name) for name in names] == [None, None, 2, None]
    assert session.get_file(MD5, 1, types.InputDocument) is None
    assert session.get_input_entity(3) == types.InputPeerUser(3, 30)
    assert [line.split("further ")[1] for line in said(caplog, "full")] == ["display names", "sent files"]
    session.close()


def test_an_older_daemon(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gramd.caller.of_daemon", lambda _: frozenset())
    session = GramdSession("acc")
    session.process_entities(met(user(1, first_name="Ann")))
    assert found(session, "Ann") is None
    session.cache_file(MD5, 1, types.InputDocument(1, 2, b""))
    with pytest.raises(TypeError, match="file_reference"):  # Telethon's own
        session.get_file(MD5, 1, types.InputDocument)
    session.save()
    with gramd.SyncClient() as client, client.open("acc") as raw:
        assert raw.kv_scan() == []
    session.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there is no other user to give a session to")
def test_a_client_that_may_only_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "gramd.conf"
    rules.write_text(f"[access]\nuser {pwd.getpwnam('daemon').pw_uid} = read on read\n")
    with running(tmp_path, monkeypatch, "--config", str(rules)) as daemon:
        let_everybody_in(daemon)
        session = GramdSession("read")
        session.process_entities(met(user(1, first_name="Ann")))
        session.close()
        with as_user("daemon"):
            assert session.get_input_entity(1) == types.InputPeerUser(1, 10)
            for _ in range(2):
                assert found(session, "Ann") is None
                assert session.get_file(MD5, 1, types.InputDocument) is None
        session.close()
    assert len(said(caplog, "read")) == 1
