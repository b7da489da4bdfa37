"""What a daemon may not send: every malformed answer is a `ProtocolError` and ends the connection."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import msgpack
import pytest
from fake import FakeGramd, _Connection

import gramd
from gramd import limits

PEER = [1, 10, "user", "someone", None, 1700000000]

Call = Callable[[gramd.Client, gramd.Session], Any]

CALLS: dict[str, Call] = {
    "hello": lambda client, session: client.hello(),
    "open": lambda client, session: client.open("another"),
    "lease": lambda client, session: session.lease(),
    "save": lambda client, session: session.save(),
    "delete": lambda client, session: session.delete(),
    "info": lambda client, session: session.info(),
    "get": lambda client, session: session.get("dc_id", "auth_key"),
    "set": lambda client, session: session.set(api_id=1),
    "get_peer_by_id": lambda client, session: session.get_peer_by_id(1),
    "get_peer_by_username": lambda client, session: session.get_peer_by_username("someone"),
    "get_peer_by_phone_number": lambda client, session: session.get_peer_by_phone_number("49"),
    "get_peers": lambda client, session: session.get_peers([1, 2]),
    "scan_peers": lambda client, session: session.scan_peers(),
    "scan_usernames": lambda client, session: session.scan_usernames(),
    "get_states": lambda client, session: session.get_states(),
    "kv_get": lambda client, session: session.kv_get(["a", "b"]),
    "kv_set": lambda client, session: session.kv_set([["a", b"1"]]),
    "kv_swap": lambda client, session: session.kv_swap("a", None, b"1"),
    "kv_scan": lambda client, session: session.kv_scan(),
    "export_string": lambda client, session: session.export_string(),
    "import_string": lambda client, session: session.import_string("text"),
    "sessions": lambda client, session: client.sessions(),
    "clients": lambda client, session: client.clients(),
    "stats": lambda client, session: client.stats(),
}

WRONG: dict[str, list[Any]] = {
    "hello": [None, 5, [], {"max_message": "x"}, {"max_message": 1 << 31}, {"max_in_flight": None}],
    "open": [None, 5, {}, {"session": "1"}, {"session": [], "backend": "file", "dialect": "x"}],
    "lease": ["1", -1, True, 1 << 62, []],
    "save": [5],
    "delete": [[]],
    "info": [None, [], {1: 2}],
    "get": [None, 7, [2], [2, None, 3], ["2", None], [2, "key"]],
    "set": [True],
    "get_peer_by_id": [None, 5, [], [1], [*PEER, 1], ["1", *PEER[1:]], [*PEER[:5], None], {"id": 1}],
    "get_peer_by_username": [None, [[], 1, 1, 1, 1, 1]],
    "get_peer_by_phone_number": [None, [{}, 1, "user", None, None, 1]],
    "get_peers": [None, 5, [None], [PEER, 5], [PEER, PEER, PEER], [PEER, [1]]],
    "scan_peers": [None, [None], [[]], 5],
    "scan_usernames": [None, [["a"]], [[1, 2, 3]], 1],
    "get_states": [None, [[1]], [[None, 1, 1, 1, 1]], [[1, "1", 1, 1, 1]]],
    "kv_get": [None, 5, [b"1"], [b"1", "2"], [b"1", b"2", b"3"]],
    "kv_set": [True],
    "kv_swap": [None, True, [True], [1, b"1"], [None, None], [True, "1"], [True, b"1", b"2"]],
    "kv_scan": [None, {}, ["a"], [["a"]], [["a", None]], [[b"a", b"1"]], [["a", b"1", 2]]],
    "export_string": [None, b"text"],
    "import_string": [None, [1]],
    "sessions": [None, [None], [{}], {}],
    "clients": [None, [[]], [{"id": "1"}]],
    "stats": [None, [], {"a": "b"}],
}


class Instead:
    """Answers a request for one method with what `make` returns, given its msgid."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.method = ""
        self.make: Callable[[int], bytes] = lambda msgid: b""
        received = _Connection.data_received

        def data_received(connection: _Connection, data: bytes) -> None:
            unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
            unpacker.feed(data)
            for message in unpacker:
                if message[2] == self.method:
                    self.method = ""
                    connection.transport.write(self.make(message[1]))
                else:
                    received(connection, msgpack.packb(message))

        monkeypatch.setattr(_Connection, "data_received", data_received)

    def answer(self, method: str, make: Callable[[int], bytes]) -> None:
        self.method, self.make = method, make


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Iterator[Instead]:
    yield Instead(monkeypatch)


def result(value: Any) -> Callable[[int], bytes]:
    return lambda msgid: msgpack.packb([1, msgid, None, value])


async def lost(fake: FakeGramd, connection: Any) -> None:
    while connection in fake.connections:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("method", WRONG)
@pytest.mark.parametrize("cache", [True, False])
async def test_wrong_results(fake: FakeGramd, instead: Instead, method: str, cache: bool) -> None:
    async with fake, gramd.Client(fake.path) as client:
        for wrong in WRONG[method]:
            session = await client.open("acc", cache=cache)
            connection = fake.connections[0]
            if session.cache is not None:
                session.cache.stop()  # every call asks the daemon
            instead.answer(method, result(wrong))
            with pytest.raises(gramd.ProtocolError, match=method):
                await CALLS[method](client, session)
            await lost(fake, connection)
            assert await client.ping(5) == 5
            await session.close()


MESSAGES: list[Any] = [
    None, 5, "text", {}, [], [1], [3, 1, None, None], [True, 1, None, None], [1, 1, None],
    [1, "1", None, None],
    [1, [], None, None], [1, {}, None, None], [1, -1, None, None], [1, 1, None, None, None],
    [1, 1, "error", None],
    [1, 1, [], None], [1, 1, [1, 2, 3], None], [1, 1, ["busy", "text", []], None], [0, 1, "ping", []],
    [2], [2, "changed"], [2, 1, []], [2, "changed", {}], [2, "changed", []], [2, "changed", [[], {}]],
    [2, "changed", [1, None]], [2, "changed", [1, {"peers": 5}]], [2, "changed", [1, {"peers": [[]]}]],
    [2, "changed", [1, {"fields": [{}]}]], [2, "leave", [1]], [2, "leave", [1, None]],
    [2, "ended", [1, "busy"]],
    [2, "ended", [{}, "busy", "text"]], [2, "request", []], [2, "request", [5]],
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
async def test_wrong_messages(fake: FakeGramd, instead: Instead, message: Any) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("acc", cache=True)
        connection = fake.connections[0]
        instead.answer("ping", lambda _: msgpack.packb(message))
        with pytest.raises(gramd.ProtocolError):
            await client.ping()
        await lost(fake, connection)
        assert await session.get("dc_id") == [2]  # it was opened again


async def test_what_is_no_text_is_not_shown(
    fake: FakeGramd, instead: Instead, caplog: pytest.LogCaptureFixture
) -> None:
    secret = b"secret" * 40
    text = b"\xda" + len(secret + b"\xff").to_bytes(2, "big") + secret + b"\xff"
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("acc")
        instead.answer("export_string", lambda msgid: b"\x94\x01" + msgpack.packb(msgid) + b"\xc0" + text)
        with pytest.raises(gramd.ProtocolError) as raised:
            await session.export_string()
    assert "not UTF-8" in str(raised.value) and "not UTF-8" in caplog.text
    assert "secret" not in repr(raised.value) + caplog.text


async def test_a_handle_of_another_session(fake: FakeGramd, instead: Instead) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("acc")
        instead.answer("open", result({"session": session.handle, "backend": "file", "dialect": "x"}))
        with pytest.raises(gramd.ProtocolError, match="handle"):
            await client.open("another")


async def test_unknown_notifications_are_ignored(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        await client.ping()
        fake.connections[0].send([2, "of tomorrow", [{"a": [1]}, None]])
        assert await client.ping(5) == 5 and len(fake.connections) == 1


async def test_a_daemon_that_answers_nothing_right_is_not_asked_all_the_time(
    fake: FakeGramd, instead: Instead, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(_Connection, "data_received", lambda self, data: self.transport.write(b"\xc1"))
    monkeypatch.setattr(
        fake,
        "connections",
        type("Counting", (list,), {"append": lambda s, c: (made.append(c), list.append(s, c))})(),
    )
    async with fake, gramd.Client(fake.path) as client:
        for _ in range(3):
            with pytest.raises(gramd.ProtocolError):
                await client.ping()
        opening = asyncio.ensure_future(client.open("acc"))
        with pytest.raises(gramd.ProtocolError):
            await opening
        assert len(made) < 10


# ---- how much is held ----


class Flood:
    """A daemon that answers the first ping with a message that does not end, and counts what is taken."""

    def __init__(self, path: str, hello: dict[str, Any]) -> None:
        self.path, self.hello, self.taken = path, hello, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unpacker = msgpack.Unpacker(raw=False)
        writer.transport.set_write_buffer_limits(0)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                unpacker.feed(data)
                for _, msgid, method, _params in unpacker:
                    if method == "hello":
                        writer.write(msgpack.packb([1, msgid, None, self.hello]))
                        continue
                    writer.write(b"\x94\x01" + msgpack.packb(msgid) + b"\xc0" + self.start)
                    while self.taken < 64 << 20:
                        writer.write(self.more)
                        await writer.drain()
                        self.taken += len(self.more)
        writer.close()

    start = b""
    more = b""


@pytest.mark.parametrize("kind", ["str", "bin", "many", "nested"])
@pytest.mark.parametrize("told", [None, 1 << 16, 5 << 20])
async def test_no_more_is_held_than_the_daemon_told(tmp_path: Path, kind: str, told: Any) -> None:
    flood = Flood(str(tmp_path / "gramd.sock"), {} if told is None else {"max_message": told})
    limit = told or limits.MESSAGE_BYTES
    flood.start = {
        "str": b"\xdb\x40\x00\x00\x00",
        "bin": b"\xc6\x40\x00\x00\x00",
        "many": b"\xdd" + limit.to_bytes(4, "big"),
        "nested": b"\xdd" + limit.to_bytes(4, "big"),
    }[kind]
    flood.more = {"many": msgpack.packb("x" * 60000), "nested": b"\x91" * 1000 + b"\xc0"}.get(
        kind, bytes(60000)
    )
    async with await asyncio.start_unix_server(flood.serve, flood.path):
        client = gramd.Client(flood.path, timeout=30)
        await client.hello()
        with pytest.raises(gramd.ProtocolError):
            await client.ping()
        await client.close()
    assert flood.taken <= limit + (1 << 20)  # what the socket holds is more than nothing


async def test_a_message_as_long_as_the_daemon_told(fake: FakeGramd, monkeypatch: pytest.MonkeyPatch) -> None:
    hello = _Connection.do_hello
    monkeypatch.setattr(
        _Connection, "do_hello", lambda self, who: {**hello(self, who), "max_message": 9 << 20}
    )
    async with fake, gramd.Client(fake.path) as client:
        await client.hello()
        long = "x" * ((9 << 20) - 100)
        assert await asyncio.gather(client.ping(long), client.ping(1), client.ping(long)) == [long, 1, long]
        assert len(fake.connections) == 1


# ---- random bytes and mutated answers ----

SEED = int(os.environ.get("GRAMD_SEED", "1"))
ROUNDS = int(os.environ.get("GRAMD_ROUNDS", "400"))

ANSWERS: dict[str, Any] = {
    "hello": {"server": "gramd", "max_message": 1 << 22, "max_in_flight": 4, "features": ["lease", "id"]},
    "open": {
        "session": 9,
        "created": True,
        "backend": "file",
        "dialect": "pyrogram",
        "fence": 0,
        "lease": None,
    },
    "lease": 15000,
    "get": [2, b"k" * 256],
    "get_peer_by_id": PEER,
    "get_peer_by_username": PEER,
    "get_peers": [PEER, None],
    "scan_peers": [PEER, PEER],
    "scan_usernames": [["a", 1, None], ["b", 2, 5]],
    "get_states": [[1, 2, None, 3, 4]],
    "info": {"name": "acc", "peers": 1},
    "sessions": [{"name": "acc", "holder": None}],
    "clients": [{"id": 1}],
    "stats": {"a": 1},
    "export_string": "text",
}

ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1 << 63,
    1.5,
    "",
    "x",
    b"",
    [],
    {},
    [[]],
    {"a": []},
    msgpack.Timestamp(1),
    msgpack.ExtType(5, b""),
]


def mutated(value: Any, chance: random.Random) -> Any:
    """A copy with one part replaced, left out or doubled."""
    value = copy.deepcopy(value)
    parts = (
        list(range(len(value))) if isinstance(value, list) else list(value) if isinstance(value, dict) else []
    )
    if not parts or chance.random() < 0.2:
        return chance.choice(ODD)
    part = chance.choice(parts)
    what = chance.random()
    if what < 0.2:
        del value[part]
    elif what < 0.3 and isinstance(value, list):
        value.insert(part, value[part])
    else:
        value[part] = mutated(value[part], chance)
    return value


def spoiled(data: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt[: chance.randint(1, len(spoilt))]) if chance.random() < 0.3 else bytes(spoilt)


@pytest.mark.parametrize("method", ANSWERS)
async def test_spoilt_answers(fake: FakeGramd, instead: Instead, method: str) -> None:
    """Every call ends with a result, or with an error of the package, and the client goes on."""
    chance = random.Random(f"{SEED} {method}")
    wrong = 0
    async with fake, gramd.Client(fake.path, timeout=0.1) as client:
        session = await client.open("acc", cache=True)
        for turn in range(ROUNDS // 10):
            if session.ended is not None:
                session = await client.open("acc", cache=True, timeout=20)
                session.timeout = 0.1
            if session.cache is not None:
                session.cache.stop()

            def make(msgid: int, turn: int = turn) -> bytes:
                message = [1, msgid, None, ANSWERS[method]]
                if turn % 3 == 0:
                    return msgpack.packb(mutated(message, chance))
                if turn % 3 == 1:
                    return msgpack.packb([1, msgid, None, mutated(ANSWERS[method], chance)])
                return spoiled(msgpack.packb(message), chance)

            instead.answer(method, make)
            try:
                await CALLS[method](client, session)
            except gramd.ProtocolError:
                wrong += 1
            except gramd.Error:
                pass
            for connection in list(fake.connections):
                connection.transport.abort()  # it may wait for the rest of a message
            instead.method = ""
            client.timeout = 20
            assert await client.ping(turn) == turn
            client.timeout = 0.1
    assert wrong > 0


async def test_random_bytes(fake: FakeGramd, instead: Instead) -> None:
    chance = random.Random(SEED)
    async with fake, gramd.Client(fake.path, timeout=0.1) as client:
        for turn in range(ROUNDS // 4):
            instead.answer("ping", lambda _: chance.randbytes(chance.choice([1, 5, 50, 5000])))
            with contextlib.suppress(gramd.Error):
                await client.ping()
            for connection in list(fake.connections):
                connection.transport.abort()  # it may wait for the rest of a message
            instead.method = ""
            client.timeout = 20
            assert await client.ping(turn) == turn
            client.timeout = 0.1


def test_the_blocking_client(fake: FakeGramd, instead: Instead) -> None:
    with fake.elsewhere(), gramd.SyncClient(fake.path) as client, client.open("acc") as session:
        instead.answer("get_peer_by_id", result(5))
        with pytest.raises(gramd.ProtocolError):
            session.get_peer_by_id(1)
