"""The session for Telethon, compared with Telethon's own."""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path
from typing import Any

import gramd
import pytest
from gramd.telethon import GramdSession
from telethon import utils
from telethon.crypto import AuthKey
from telethon.sessions import MemorySession, Session, SQLiteSession, StringSession
from telethon.tl import types

from daemon import Daemon
from offline_telethon import KEY, ME, channel, chat, met, state, user
from outcome import outcome, shown

ENTITIES = [
    user(1),
    user(1, username="Name", phone="4910"),
    user(1, username="", bot=True),
    user(1, last_name="Last"),
    user(1, first_name=None, last_name="Last"),
    user(1, first_name="", last_name=""),
    user(1, min=True),
    types.User(1),
    types.User(0, access_hash=777),
    types.UserEmpty(1),
    types.InputPeerUser(1, 7),
    types.InputPeerSelf(),
    channel(1, username="Name", megagroup=True),
    channel(1, broadcast=True),
    channel(1, title=""),
    channel(1, min=True),
    channel(9999999999),
    channel(10000000000),
    channel(-1000000000001),
    channel(0),
    types.ChannelForbidden(1, 7, "c"),
    chat(1),
    types.ChatForbidden(1, "g"),
    state(1),
    "no entity",
]


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: type(entity).__name__)
def test_the_row_of_an_entity_is_telethons(entity: Any) -> None:
    own = outcome(MemorySession()._entity_to_row, entity)
    row = outcome(GramdSession("x")._entity_to_row, entity)
    if row is not None and len(row) == 2:
        (peer_id, access_hash, _, username, phone), name = row
        row = (peer_id, access_hash, username, phone, name or None)
    assert row == own


FILES = [types.InputDocument, types.InputPhoto]


def replay(session: Any, seed: int) -> list[Any]:
    """Replays a seeded sequence of calls like a client's. It avoids what the own session does differently: the state
    of a session before its data centre is first set; and a bare number that is a user's, a group's and a channel's at
    once: gramd takes the user."""
    pick = random.Random(seed)
    seen: list[Any] = []
    session.set_dc(2, "149.154.167.51", 443)
    owners: dict[str, int] = {}
    for _ in range(200):
        n = pick.randrange(1, 12)
        what = pick.randrange(14)
        if what < 3:
            name = f"Name{n}"
            number = owners.setdefault(name, n)
            person = user(
                number,
                username=name,
                phone=f"4910{number}",
                bot=pick.random() < 0.3,
                first_name=pick.choice([None, "Ann", "Bo", "+4910"]),
                last_name=pick.choice([None, "", "Lee"]),
            )
            titles = [pick.choice(["Ann Lee", "Bo", "", "News", "name3"]) for _ in range(2)]
            group, news = chat(100 + n, titles[0]), channel(200 + n, titles[1], broadcast=True)
            session.process_entities(met(person, group, news))
            session.process_entities(met())
        elif what < 7:
            numbers = [n, 100 + n, 200 + n, -100 - n, -1000000000200 - n]
            texts = [f"name{n}", f"@name{n}", f"+4910{n}", f"t.me/name{n}", "no such"]
            entities = [types.PeerUser(n), types.PeerChat(100 + n), types.PeerChannel(200 + n), user(n)]
            names = ["Ann", "Ann Lee", "Bo", "Lee", "+4910", "News", "ann", "name3", "g", ""]
            key: Any = pick.choice(pick.choice([numbers, texts, entities, names]))
            seen.append(outcome(session.get_input_entity, key))
        elif what == 7:
            session.set_update_state(n, state(pick.randrange(5)))
        elif what == 8:
            seen.append(outcome(session.get_update_state, n))
        elif what == 9:
            seen.append(sorted((each, str(shown(value))) for each, value in session.get_update_states()))
        elif what == 10:
            session.takeout_id = pick.choice([None, n])
            session.auth_key = pick.choice([AuthKey(KEY), AuthKey(bytes(255) + b"1")])
            session.set_dc(pick.choice([1, 2, 4]), "149.154.175.53", 443)
        elif what == 11:
            session.cache_file(bytes([n]) * 16, n % 3, pick.choice(FILES)(n, -n, b"reference"))
        elif what == 12:
            file = session.get_file(bytes([n]) * 16, n % 3, pick.choice(FILES))
            seen.append(file and (type(file), file.id, file.access_hash))
        else:
            session.save()
            key_now = session.auth_key
            seen.append((session.dc_id, session.server_address, session.port, session.takeout_id))
            seen.append(key_now.key if key_now else None)
            if pick.random() < 0.3:
                session.close()
    session.save()
    session.close()
    return seen


def test_a_new_session(daemon: Daemon) -> None:
    assert issubclass(GramdSession, Session)
    session = GramdSession("acc")
    assert (session.dc_id, session.server_address, session.port) == (2, "149.154.167.51", 443)
    assert session.auth_key is None and session.takeout_id is None
    session.close()


@pytest.fixture
def older_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telethon's own `get_file` gives the file no reference, so it raises for each file that it finds."""
    for kind in FILES:
        monkeypatch.setattr(kind.__init__, "__defaults__", (b"",))


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_call_by_call(daemon: Daemon, tmp_path: Path, seed: int, cache: bool, older_files: None) -> None:
    theirs = replay(SQLiteSession(str(tmp_path / "own")), seed)
    mine = replay(GramdSession("own", cache=cache), seed)
    for step, (expected, got) in enumerate(zip(theirs, mine)):
        assert got == expected, f"result {step} of seed {seed}"
    assert len(mine) == len(theirs) > 80


def test_the_file_can_be_taken_out_and_in(daemon: Daemon) -> None:
    replay(GramdSession("acc"), 3)
    session = GramdSession("acc")
    session.process_entities(types.contacts.ResolvedPeer(None, [types.InputPeerUser(0, ME)], []))
    session.auth_key = AuthKey(KEY)

    def look(at: Any) -> list[Any]:
        keys = [*range(1, 12), *range(101, 112), *range(201, 212), "name1", "name2", "name3", "+49101"]
        found = [outcome(at.get_input_entity, key) for key in keys]
        identity = (at.dc_id, at.server_address, at.port, at.auth_key.key, at.takeout_id)
        states = sorted((each, str(shown(value))) for each, value in at.get_update_states())
        at.close()
        return [found, identity, states]

    assert session.get_input_entity(0).access_hash == ME
    expected = look(session)
    daemon.stop()
    with sqlite3.connect(daemon.data / "acc.session") as db:
        assert db.execute("SELECT version FROM version").fetchall() == [(8,)]
    db.close()
    assert look(SQLiteSession(str(daemon.data / "acc"))) == expected
    daemon.start()
    session = GramdSession("acc")
    assert session.get_input_entity(0).access_hash == ME
    assert look(session) == expected


def test_a_file_of_telethon_tells_its_own_user(daemon: Daemon) -> None:
    own = SQLiteSession(str(daemon.data / "own"))
    own.set_dc(2, "149.154.167.51", 443)
    own.process_entities(types.contacts.ResolvedPeer(None, [types.InputPeerUser(0, ME)], []))
    own.close()
    session = GramdSession("own")
    assert session.get_input_entity(0).access_hash == ME
    session.close()


def test_unusual_arguments(daemon: Daemon) -> None:
    session = GramdSession("acc")
    session.auth_key = AuthKey(KEY)
    given = session.auth_key
    given.key = None  # as the client does when it moves to another data centre
    assert session.auth_key == AuthKey(KEY)
    session.auth_key = AuthKey(None)
    assert session.auth_key is None
    with pytest.raises(ValueError, match="Could not find"):
        session.get_input_entity(0)
    session.process_entities(types.contacts.ResolvedPeer(None, [types.InputPeerUser(0, ME)], []))
    assert session.get_input_entity(0).access_hash == ME
    for key in ("x" * 300, 1 << 65, -(1 << 65)):
        with pytest.raises(ValueError, match="Could not find"):
            session.get_input_entity(key)
    session.process_entities(met(user(1, phone="+4912", username="Old")))
    then = int(time.time()) - 10**6
    with gramd.SyncClient() as client, client.open("acc") as raw:
        assert raw.get("user_id") == [ME]
        raw.update_peers([[1, 10, "user", "old", "+4912", then]])
    assert session.get_input_entity("old").user_id == 1  # names do not expire here
    session.process_entities(met(channel(2, megagroup=True), channel(3, broadcast=True), user(4, bot=True)))
    with gramd.SyncClient() as client, client.open("acc") as raw:
        assert [peer.type for peer in raw.scan_peers(None, 10) if peer.id not in (0, 1)] == [
            "channel",
            "supergroup",
            "bot",
        ]
    session.save()
    assert session.delete() is True
    assert session.delete() is False
    assert session.auth_key is None  # a new session
    session.close()
    session.close()


def test_clone(daemon: Daemon) -> None:
    """Telethon connects to a CDN's data centre with it."""
    session = GramdSession("acc", session_string=string())
    copy = session.clone()
    assert type(copy) is MemorySession
    assert copy.auth_key is None and copy.dc_id == 0
    copy.set_dc(203, "149.154.175.53", 443)
    assert session.dc_id == 4 and session.auth_key == AuthKey(KEY)
    assert session.clone(copy) is copy
    session.close()


def string() -> str:
    session = StringSession()
    session.set_dc(4, "149.154.167.91", 443)
    session.auth_key = AuthKey(KEY)
    return str(session.save())


def test_a_session_string(daemon: Daemon) -> None:
    session = GramdSession("acc", session_string=string())
    assert session.auth_key == AuthKey(KEY) and session.dc_id == 4
    session.set_dc(5, "91.108.56.130", 443)
    session.close()
    assert session.dc_id == 5  # the string is for a new session
    session.close()
    with gramd.SyncClient() as client, client.open("acc") as raw:
        raw.set(dc_id=4, server_address="149.154.167.91")
        assert raw.export_string("telethon") == string()


def test_a_refused_session_string_leaves_no_session(daemon: Daemon) -> None:
    with pytest.raises(gramd.BadRequest):
        GramdSession("acc", session_string="no session string").dc_id  # noqa: B018
    with gramd.SyncClient() as client:
        assert client.sessions() == []


def test_names_directories_and_files(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    SQLiteSession("acc").close()
    session = GramdSession("acc.session")
    assert session.auth_key is None and session.name == "acc"
    session.close()
    [said] = [record.getMessage() for record in caplog.records if record.name == "gramd.stored"]
    assert str(tmp_path / "acc.session") in said and "gramctl import acc" in said
    session = GramdSession("acc", workdir="/srv/a", backend="memory", linger=60)
    session.set_dc(4, "149.154.167.91", 443)
    session.close()
    assert session.dc_id == 4
    session.close()
    with gramd.SyncClient() as client:
        assert [each["name"] for each in client.sessions()] == ["acc", "acc@srv-a"]


def test_a_session_of_pyrogram(daemon: Daemon) -> None:
    """It is stored without an address, which Telethon needs."""
    with gramd.SyncClient() as client, client.open("acc", dialect="pyrogram") as raw:
        raw.set(dc_id=4, test_mode=False, auth_key=KEY, user_id=ME)
        raw.update_peers([[-1000000000009, 90, "channel", "news", None]])
    session = GramdSession("acc")
    assert (session.server_address, session.port) == ("149.154.167.91", 443)
    assert session.get_input_entity(0).access_hash == ME
    assert session.get_input_entity("news") == types.InputPeerChannel(9, 90)
    session.process_entities(types.contacts.ResolvedPeer(None, [types.InputPeerUser(0, ME + 1)], []))
    session.close()
    with gramd.SyncClient() as client, client.open("acc") as raw:
        assert raw.get("user_id") == [ME + 1]
        assert [peer.id for peer in raw.scan_peers(None, 10)] == [-1000000000009]


def test_known_entities_cost_no_round_trip(daemon: Daemon) -> None:
    session = GramdSession("acc")
    people = met(*(user(n, username=f"name{n}", phone=f"49{n}") for n in range(1, 6)), channel(9))
    session.process_entities(people)
    session.get_input_entity("name1"), session.get_input_entity("+491")
    with gramd.SyncClient() as client:

        def asked() -> int:
            [us] = [each for each in client.clients() if "acc" in each["sessions"]]
            return int(us["requests"])

        before = asked()
        for _ in range(5):
            session.process_entities(people)
            for key in (1, 2, -1000000000009, "name1", "+491"):
                session.get_input_entity(key)
            assert session.dc_id and session.server_address and session.port and not session.auth_key
            session.set_dc(session.dc_id, session.server_address, session.port)
        assert asked() == before
    session.close()


def test_an_exclusive_session(daemon: Daemon) -> None:
    session = GramdSession("acc", mode="exclusive")
    assert session.dc_id == 2
    with pytest.raises(gramd.Busy):
        GramdSession("acc").dc_id  # noqa: B018
    session.close()


def test_peer_ids_are_marked(daemon: Daemon) -> None:
    session = GramdSession("acc")
    session.process_entities(met(user(1), chat(2), channel(3)))
    with gramd.SyncClient() as client, client.open("acc") as raw:
        ids = [peer.id for peer in raw.scan_peers(None, 10)]
    assert ids == sorted(utils.get_peer_id(kind(n)) for kind, n in
                         ((types.PeerUser, 1), (types.PeerChat, 2), (types.PeerChannel, 3)))  # fmt: skip
    session.close()
