"""The session for Telethon against its own, alone and under the real TelegramClient."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gramd
import pytest
from gramd import stop
from gramd.telethon import GramdSession
from telethon import TelegramClient, utils
from telethon.crypto import AuthKey
from telethon.sessions import MemorySession, Session, SQLiteSession, StringSession
from telethon.tl import functions, types

import mongo
import offline_telethon
from conftest import python
from daemon import Daemon
from offline_telethon import KEY, ME, channel, chat, state, user


@pytest.fixture(autouse=True)
def no_experiments() -> Iterator[None]:
    """Telethon warns where a session's methods are asynchronous."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*async sessions.*")
        yield


def met(*who: Any) -> types.contacts.ResolvedPeer:
    users = [each for each in who if isinstance(each, types.User)]
    return types.contacts.ResolvedPeer(None, [each for each in who if each not in users], users)


def shown(value: Any) -> Any:
    return value.to_dict() if hasattr(value, "to_dict") else value


def outcome(call: Any, *arguments: Any) -> Any:
    try:
        return shown(call(*arguments))
    except Exception as error:
        return type(error).__name__, [shown(each) for each in error.args]


ENTITIES = [
    user(1),
    user(1, username="Name", phone="4910"),
    user(1, username="", bot=True),
    user(1, min=True),
    types.User(1),
    types.User(0, access_hash=777),
    types.UserEmpty(1),
    types.InputPeerUser(1, 7),
    types.InputPeerSelf(),
    channel(1, username="Name", megagroup=True),
    channel(1, broadcast=True),
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
def test_of_an_entity_is_kept_what_telethon_keeps(entity: Any) -> None:
    own = outcome(MemorySession()._entity_to_row, entity)
    row = outcome(GramdSession("x")._entity_to_row, entity)
    if row is not None and len(row) == 5:
        row, own = (row[0], row[1], row[3], row[4]), own[:4]
    assert row == own



def replay(session: Any, seed: int) -> list[Any]:
    """A seeded sequence of what a client calls. Left out, because there the own session differs for a reason:
    names for display, which gramd does not keep; what a session is before it was first told its data centre;
    and a bare number that is a user's, a group's and a channel's at once, where gramd takes the user."""
    pick = random.Random(seed)
    seen: list[Any] = []
    session.set_dc(2, "149.154.167.51", 443)
    owners: dict[str, int] = {}
    for _ in range(200):
        n = pick.randrange(1, 12)
        what = pick.randrange(12)
        if what < 3:
            name = f"Name{n}"
            number = owners.setdefault(name, n)
            person = user(number, username=name, phone=f"4910{number}", bot=pick.random() < 0.3)
            session.process_entities(met(person, chat(100 + n), channel(200 + n, broadcast=True)))
            session.process_entities(met())
        elif what < 7:
            numbers = [n, 100 + n, 200 + n, -100 - n, -1000000000200 - n]
            texts = [f"name{n}", f"@name{n}", f"+4910{n}", f"t.me/name{n}", "no such"]
            entities = [types.PeerUser(n), types.PeerChat(100 + n), types.PeerChannel(200 + n), user(n)]
            key: Any = pick.choice(pick.choice([numbers, texts, entities]))
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
        else:
            session.save()
            key_now = session.auth_key
            seen.append((session.dc_id, session.server_address, session.port, session.takeout_id))
            seen.append(key_now.key if key_now else None)
    session.save()
    session.close()
    return seen


def test_what_it_is(daemon: Daemon) -> None:
    assert issubclass(GramdSession, Session)
    session = GramdSession("acc")
    assert (session.dc_id, session.server_address, session.port) == (2, "149.154.167.51", 443)
    assert session.auth_key is None and session.takeout_id is None
    session.close()


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_call_by_call(daemon: Daemon, tmp_path: Path, seed: int, cache: bool) -> None:
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


def test_traps(daemon: Daemon) -> None:
    session = GramdSession("acc")
    session.auth_key = AuthKey(KEY)
    given = session.auth_key
    given.key = None  # as the client does when it moves
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
    assert session.auth_key is None  # opened anew
    session.close()
    session.close()


def test_clone(daemon: Daemon) -> None:
    session = GramdSession("acc", session_string=string())
    copy = session.clone()
    assert type(copy) is MemorySession
    assert (copy.dc_id, copy.server_address, copy.port) == (4, "149.154.167.91", 443)
    assert copy.auth_key == session.auth_key == AuthKey(KEY)
    copy.set_dc(1, "149.154.175.53", 443)
    copy.auth_key = None
    assert session.dc_id == 4 and session.auth_key == AuthKey(KEY)
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


def test_a_session_of_pyrogram(daemon: Daemon) -> None:
    """Stored without an address, which Telethon cannot do without."""
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


WRITER = """
import sys
from gramd.telethon import GramdSession
from telethon.tl import types
session = GramdSession("acc")
for line in sys.stdin:
    person = types.User(1, access_hash=int(line), first_name="x", username=f"name{int(line)}")
    session.process_entities(types.contacts.ResolvedPeer(None, [], [person]))
    print(session.get_input_entity(1).access_hash, flush=True)
session.close()
"""


def test_two_processes_on_one_session(daemon: Daemon) -> None:
    session = GramdSession("acc")
    session.process_entities(met(user(1)))
    with subprocess.Popen(
        python("-c", WRITER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        for n in range(1, 20):
            assert session.get_input_entity(1).access_hash != n
            other.stdin.write(f"{n}\n")
            other.stdin.flush()
            assert other.stdout.readline() == f"{n}\n"
            # The change was on its way to us before the writer had its answer; our thread reads it by itself.
            give_up = time.monotonic() + 10
            while session.get_input_entity(1).access_hash != n:
                assert time.monotonic() < give_up
            assert session.get_input_entity(f"name{n}").access_hash == n
        other.stdin.close()
        assert other.wait() == 0
    session.close()


FORK = """
import os
from gramd.telethon import GramdSession
session = GramdSession("acc")
session.takeout_id = 5
pid = os.fork()
if pid == 0:
    assert session.takeout_id == 5
    session.takeout_id = 6
    session.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
session.set_dc(2, None, None)
assert session.takeout_id == 6
session.close()
"""


def test_a_forked_child(daemon: Daemon) -> None:
    assert subprocess.run(python("-c", FORK), timeout=60).returncode == 0


def test_the_daemon_is_killed_under_a_running_client(daemon: Daemon) -> None:
    session = GramdSession("acc")
    written, stop = [0], threading.Event()

    def bot() -> None:
        while not stop.is_set():
            n = written[0] + 1
            session.process_entities(met(user(n)))
            assert session.get_input_entity(n).access_hash == n * 10
            session.set_update_state(0, state(n))
            written[0] = n

    thread = threading.Thread(target=bot)
    thread.start()
    for _ in range(3):
        before = written[0]
        while written[0] < before + 30:
            assert thread.is_alive()
            time.sleep(0.005)
        daemon.kill()
        daemon.start()
    stop.set()
    thread.join()
    session.close()
    for n in range(1, written[0] + 1):
        assert session.get_input_entity(n) == types.InputPeerUser(n, n * 10)
    assert session.get_update_state(0).pts == written[0]
    session.close()


def stored() -> dict[int, Any]:
    with gramd.SyncClient() as client, client.open("acc") as raw:
        return {peer.id: peer for peer in raw.scan_peers()}


def test_nobody_waits_for_a_write(daemon: Daemon) -> None:
    session = GramdSession("acc")
    session.process_entities(met(user(1, username="old")))
    session.save()
    daemon.freeze()
    session.process_entities(met(user(1, username="new"), user(2)))
    session.process_entities(met(user(1, username="old")))
    session.process_entities(met(user(2, username="name")))
    session.set_update_state(0, state(5))
    session.set_update_state(0, state(6))
    assert session.get_input_entity(2) == types.InputPeerUser(2, 20)
    daemon.thaw()
    assert [session.get_input_entity(name).user_id for name in ("old", "name")] == [1, 2]
    assert session.get_update_state(0).pts == 6
    session.close()
    assert {n: peer.username for n, peer in stored().items()} == {1: "old", 2: "name"}


def test_saving_tells_what_is_not_stored_and_tries_again(daemon: Daemon) -> None:
    session = GramdSession("acc", timeout=2)
    session.process_entities(met(user(1), user(2)))
    session.save()
    daemon.kill()
    session.process_entities(met(user(2, username="sooner"), user(3)))
    session.set_update_state(0, state(7))
    with pytest.raises(gramd.TimedOut):
        session.save()
    session.process_entities(met(user(2, username="later")))
    daemon.start()
    session.save()
    assert {n: peer.username for n, peer in stored().items()} == {1: None, 2: "later", 3: None}
    assert session.get_update_state(0).pts == 7
    session.close()


def test_what_waits_to_be_stored_is_bounded(daemon: Daemon) -> None:
    session = GramdSession("acc", timeout=2)
    session.save()
    session.process_entities(met(user(1)))
    daemon.freeze()
    with pytest.raises(gramd.TimedOut):
        for first in range(1, 100_000, 1000):
            session.process_entities([user(n) for n in range(first, first + 1000)])
    daemon.thaw()
    assert first < 20_000
    session.save()
    session.close()
    assert stored().keys() == set(range(1, 1001))  # of more, a page is told
    with gramd.SyncClient() as client, client.open("acc") as raw:
        assert raw.info()["peers"] == first + 999


def test_a_session_that_has_ended_takes_nothing(daemon: Daemon) -> None:
    session = GramdSession("acc", on_lost=lambda: None)
    session.process_entities(met(user(1)))
    with gramd.SyncClient() as client:
        client.open("acc").delete()
    give_up = time.monotonic() + 10
    with pytest.raises(gramd.NotFound):
        while time.monotonic() < give_up:
            session.process_entities(met(user(2)))
    with pytest.raises(gramd.NotFound):
        session.set_update_state(0, state(1))
    session.close()


def test_an_exclusive_session(daemon: Daemon) -> None:
    session = GramdSession("acc", mode="exclusive")
    assert session.dc_id == 2
    with pytest.raises(gramd.Busy):
        GramdSession("acc").dc_id  # noqa: B018
    session.close()


# ---- the real client, with Telegram's side made up ----


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    offline_telethon.patch(monkeypatch.setattr)


def client_with(session: Any) -> TelegramClient:
    return TelegramClient(session, 12345, "0" * 32)


async def scenario(client: TelegramClient) -> list[Any]:
    seen: list[Any] = []
    for _ in range(2):
        await client.connect()
        seen.append(await client.get_me())
        await client(functions.messages.GetDialogsRequest(None, 0, types.InputPeerEmpty(), 0, 0))
        keys: list[Any] = [
            5,
            -8,
            -1000000000009,
            "alice",
            "@Alice",
            "news",
            "me",
            ME,
            12345,
            "nobody",
            "+49777",
        ]
        for key in keys:
            try:
                seen.append(await client.get_input_entity(key))
            except Exception as error:
                seen.append((type(error).__name__, str(error)))
        await client.disconnect()
    session = client.session
    seen += [session.dc_id, session.server_address, session.port, session.auth_key.key]
    seen += [outcome(session.get_input_entity, key) for key in (0, ME, 5, "alice")]
    seen.append(outcome(session.get_update_state, 0))
    session.close()
    return seen


async def test_a_session_lives_as_on_the_own_one(daemon: Daemon, offline: None, tmp_path: Path) -> None:
    theirs = await scenario(client_with(SQLiteSession(str(tmp_path / "own"))))
    for cache in (True, False):
        session = GramdSession(f"acc{cache}", cache=cache)
        client = client_with(session)
        assert client.session is session
        mine = await scenario(client)
        assert [str(each) for each in mine] == [str(each) for each in theirs]


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
    await asyncio.wait_for(client.disconnected, 5)


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


async def test_losing_the_session_is_told_once(daemon: Daemon, offline: None) -> None:
    reasons: asyncio.Queue[gramd.Error] = asyncio.Queue()
    session = GramdSession("acc", on_lost=reasons.put_nowait)
    clients = [client_with(session), client_with(session)]
    for client in clients:
        await client.connect()
    async with gramd.Client() as other:
        await (await other.open("acc", create=False)).delete()
    await reasons.get()
    for client in clients:
        await client._disconnect()  # which does not write to the session
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
async def test_a_client_that_does_not_disconnect_is_cut_off(
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


def test_peer_ids_are_marked(daemon: Daemon) -> None:
    session = GramdSession("acc")
    session.process_entities(met(user(1), chat(2), channel(3)))
    with gramd.SyncClient() as client, client.open("acc") as raw:
        ids = [peer.id for peer in raw.scan_peers(None, 10)]
    assert ids == sorted(utils.get_peer_id(kind(n)) for kind, n in
                         ((types.PeerUser, 1), (types.PeerChat, 2), (types.PeerChannel, 3)))  # fmt: skip
    session.close()
