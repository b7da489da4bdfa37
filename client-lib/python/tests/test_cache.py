"""The cache: what it answers without the daemon, and that its answers are never outdated."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from fake import BEFORE, FakeGramd, Refusal

import gramd
from gramd.cache import PEERS, REPEAT_AFTER, USERNAME_TRUST, Cache, Generations

ROW = [1, 10, "user", "someone", "4912345"]


def repeats(cache: Cache, row: tuple[Any, ...]) -> bool:
    return cache.without_repeats([row]) == []


async def test_what_was_read_or_written_costs_no_round_trip(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        fake.sessions.clear()
        session = await client.open("a", cache=True)
        await session.update_peers([ROW])
        assert (await session.get_peer_by_username("someone")).id == 1
        assert (await session.get_peer_by_phone_number("4912345")).id == 1
        before = len(fake.seen)
        for _ in range(3):
            await session.get_peer_by_id(1)
            await session.get_peer_by_username("someone")
            await session.get_peer_by_phone_number("4912345")
            await session.get_peers([1, 1])
            await session.get(*gramd.session.FIELDS)
        assert len(fake.seen) == before


async def test_misses_are_not_cached(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", cache=True)
        for _ in range(2):
            with pytest.raises(gramd.NotFound):
                await session.get_peer_by_id(1)
        assert fake.methods().count("get_peer_by_id") == 2


async def test_two_processes_see_each_other(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as ours, gramd.Client(fake.path) as theirs:
        here, there = await ours.open("a", cache=True), await theirs.open("a", cache=True)
        for n in range(20):
            await here.update_peers([[1, n, "user", f"name{n % 2}", f"{n % 3}"]])
            await here.set(api_id=n)
            await theirs.ping()  # the notifications come before its answer
            assert (await there.get_peer_by_id(1)).access_hash == n
            assert (await there.get_peer_by_username(f"name{n % 2}")).access_hash == n
            assert (await there.get_peer_by_phone_number(f"{n % 3}")).access_hash == n
            assert await there.get("api_id") == [n]


async def test_an_answer_older_than_a_change_is_not_cached(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", cache=True)
        reading = [session.get_peer_by_id(1), session.get_peer_by_username("someone")]
        await session.update_peers([ROW])
        session.cache.peers.clear()  # type: ignore[union-attr]
        slow = asyncio.gather(*reading, session.get("date"))
        await asyncio.sleep(0)
        assert session.cache is not None
        session.cache.changed({"peers": [1], "usernames": ["someone"], "fields": ["date"]})
        assert (await slow)[0].id == 1
        assert session.cache.peers.get(1) is None
        assert session.cache.by_username("someone", 0) is None


async def test_an_answer_older_than_an_own_write_is_not_cached(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", cache=True)
        await session.update_peers([ROW])
        session.cache.peers.clear()  # type: ignore[union-attr]
        old, _, _, new = await asyncio.gather(
            session.get_peer_by_id(1),
            session.update_peers([[1, 11, "user", None, None]]),
            session.update_peers([[1, 12, "user", None, None]]),
            session.get_peer_by_id(1),
        )
        assert (old.access_hash, new.access_hash) == (10, 12)
        assert (await session.get_peer_by_id(1)).access_hash == 12
        with pytest.raises(gramd.NotFound):
            await session.get_peer_by_username("someone")


async def test_a_username_moves_to_another_peer(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", cache=True)
        await session.update_peers([[1, 1, "user", "name", None], [2, 2, "user", None, None]])
        assert (await session.get_peer_by_username("name")).id == 1
        await session.update_peers([[1, 1, "user", None, None], [2, 2, "user", "name", None]])
        assert (await session.get_peer_by_username("name")).id == 2
        await session.update_usernames([[1, ["table"]]])
        assert (await session.get_peer_by_username("table")).id == 1
        await session.update_usernames([[1, ["other"]], [2, ["table"]]])
        assert (await session.get_peer_by_username("table")).id == 2


async def test_a_lost_connection_empties_it(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", cache=True)
        await session.update_peers([ROW])
        fake.sessions["a"]["peers"][1][1] = 99  # without a notification
        fake.connections[0].transport.abort()
        assert await client.ping(1) == 1
        assert (await session.get_peer_by_id(1)).access_hash == 99
        assert ("watch", [True]) in fake.seen[-6:]


@pytest.mark.parametrize("code", ["unavailable", "denied"])
async def test_nothing_is_cached_without_notifications(fake: FakeGramd, code: str) -> None:
    async with fake, gramd.Client(fake.path) as client:
        fake.faults = [("watch", Refusal(code))]
        session = await client.open("a", cache=True)
        await session.update_peers([ROW])
        fake.sessions["a"]["peers"][1][1] = 99  # without a notification
        assert (await session.get_peer_by_id(1)).access_hash == 99
        assert session.cache is not None and not session.cache.fields
        if code == "unavailable":  # `watch` is retried
            while ("watch", [True]) not in fake.seen:
                await asyncio.sleep(0.001)
            await session.get_peer_by_id(1)
            before = len(fake.seen)
            await session.get_peer_by_id(1)
            assert len(fake.seen) == before


async def test_fields_read_on_a_new_connection_include_repeated_writes(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", cache=True)
        fake.faults = [("set", BEFORE)]
        await session.set(api_id=5)
        await client.ping()
        assert await session.get("api_id") == [5]


async def test_the_daemon_decides_that_a_username_is_expired(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", cache=True)
        long_ago = int(time.time()) - 30000
        await session.update_peers([[*ROW, long_ago]])
        with pytest.raises(gramd.Expired):
            await session.get_peer_by_username("someone")
        assert (await session.get_peer_by_username("someone", 0)).id == 1
        fake.sessions["a"]["peers"][1][5] = int(time.time())  # written again by another process
        assert (await session.get_peer_by_username("someone")).id == 1


async def test_a_notification_of_all_empties_it(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", cache=True)
        await session.update_peers([ROW])
        told: list[dict[str, Any]] = []
        session.on_changed = told.append
        fake.notify("a", "changed", {"all": True})
        await client.ping()
        assert session.cache is not None and session.cache.peers.get(1) is None and not session.cache.fields
        assert told == [{"all": True}]


def test_a_repeated_row_is_found_in_the_old_generation() -> None:
    def write(rows: list[tuple[Any, ...]]) -> None:
        cache.wrote_peers(rows, cache.writing_peers(rows))

    row = (0, 1, "user", "someone", None)
    for peek, after in ((False, True), (True, False)):
        cache = Cache()
        cache.start()
        write([row])
        for generation in range(2):
            write([(n + generation * PEERS, 1, "user", None, None) for n in range(1, PEERS + 1)])
            if generation == 0:
                assert cache.without_repeats([row], peek) == []  # only a use keeps it
        assert repeats(cache, row) == after


def test_it_is_bounded() -> None:
    table: Generations[int, int] = Generations(100)
    for n in range(10000):
        table.put(n, n)
        assert table.get(0) == 0  # a use keeps it
    assert len(table.young) + len(table._old) <= 200
    assert table.get(9999) == 9999 and table.get(5000) is None


def test_marks_are_bounded() -> None:
    cache = Cache()
    cache.start()
    mark = cache.mark()
    for n in range(10 * PEERS):
        cache.touch([n])
    assert len(cache._touched) <= 4 * PEERS + 1
    assert not cache.untouched(0, mark)


# ---- repeated rows ----


def written(cache: Cache, *rows: tuple[Any, ...]) -> None:
    cache.wrote_peers(rows, cache.writing_peers(rows))


def named(cache: Cache, *rows: tuple[int, list[str]]) -> None:
    cache.wrote_usernames(rows, cache.writing_usernames(rows))


@pytest.fixture
def cache() -> Cache:
    cache = Cache()
    cache.start()
    return cache


A, B = (1, 1, "user", "name", None), (2, 2, "user", "name", None)


def test_a_repeated_row(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    written(cache, A)
    assert repeats(cache, A) and not repeats(cache, (1, 1, "user", "other", None)) and not repeats(cache, B)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + REPEAT_AFTER)
    assert not repeats(cache, A)


@pytest.mark.parametrize("what", [{"peers": [1]}, {"usernames": ["name"]}, {"all": True}])
def test_a_row_that_others_changed_is_sent(cache: Cache, what: dict[str, Any]) -> None:
    written(cache, A)
    cache.changed(what)
    assert not repeats(cache, A)


def test_a_row_whose_username_went_to_another_peer_is_sent(cache: Cache) -> None:
    written(cache, A)
    written(cache, B)
    assert not repeats(cache, A) and repeats(cache, B)


def test_a_row_whose_username_went_to_another_peer_in_the_table_is_sent(cache: Cache) -> None:
    a, b = (1, 1, "user", None), (2, 2, "user", None)
    written(cache, a, b)
    named(cache, (1, ["x", "y"]))
    assert repeats(cache, a) and cache.repeats_usernames(1, ["x", "y"])
    assert not cache.repeats_usernames(1, ["x"])
    named(cache, (2, ["y"]))
    assert not repeats(cache, a) and not cache.repeats_usernames(1, ["x", "y"])
    assert repeats(cache, b) and cache.repeats_usernames(2, ["y"])
    cache.changed({"usernames": ["z"]})
    assert not cache.repeats_usernames(2, ["y"])


def test_of_two_rows_of_one_peer_the_last_counts(cache: Cache) -> None:
    written(cache, A, B)
    other = (1, 10, "user", "other", None)
    for rows in ((other, A), (A, other)):
        assert cache.without_repeats([*rows, B])[-1] == rows[-1]


def test_a_row_whose_write_failed_is_sent(cache: Cache) -> None:
    cache.writing_peers([A])
    assert not repeats(cache, A) and cache.peers.get(1) is None


def test_a_username_is_cached_for_a_limited_time(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = gramd.Peer(1, 1, "user", None, None, int(time.time()))
    cache.learn_username("name", peer, cache.mark())
    assert cache.by_username("name", 28800) is not None
    now = time.time()
    for then in (now + USERNAME_TRUST + 1, now - 5):
        monkeypatch.setattr(time, "time", lambda then=then: then)
        assert cache.by_username("name", 28800) is None


# ---- answers and notifications in any order ----


def peer(number: int, **more: Any) -> gramd.Peer:
    row = {"access_hash": 1, "type": "user", "username": None, "phone_number": None}
    return gramd.Peer(number, **{**row, "last_update_on": int(time.time()), **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("alone", [False, True])
def test_the_answers_of_two_writes_in_the_wrong_order(cache: Cache, alone: bool) -> None:
    old, new = (1, 1, "user", None, None), (1, 2, "user", None, None)
    first, second = cache.writing_peers([old], alone), cache.writing_peers([new])
    cache.wrote_peers([new], second)
    cache.wrote_peers([old], first)
    entry = cache.peers.get(1)
    assert entry is not None and entry.peer.access_hash == 2 and repeats(cache, new)


@pytest.mark.parametrize("alone", [False, True])
def test_peers_that_others_wrote_under_way(cache: Cache, alone: bool) -> None:
    mark = cache.writing_peers([A, B], alone)
    cache.changed({"peers": [A[0]]})
    cache.wrote_peers([A, B], mark)
    assert cache.peers.get(A[0]) is None and repeats(cache, B)
    mark = cache.writing_peers([A, B], alone)
    cache.stop()
    cache.start()
    cache.wrote_peers([A, B], mark)
    assert cache.peers.get(B[0]) is None


async def test_a_write_sent_after_a_read(fake: FakeGramd) -> None:
    """The read's answer is older than the write."""
    async with fake, gramd.Client(fake.path) as client, await client.open("acc", cache=True) as session:
        await session.update_peers([(1, 1, "user", None, None)])
        assert session.cache is not None
        session.cache.clear()
        asked = asyncio.ensure_future(session.get_peer_by_id(1))
        await asyncio.sleep(0)
        written = asyncio.ensure_future(session.update_peers([(1, 2, "user", None, None)]))
        assert (await asked).access_hash == 1
        entry = session.cache.peers.get(1)
        assert entry is None or entry.peer.access_hash == 2
        await written
        assert (await session.get_peer_by_id(1)).access_hash == 2


def test_fields_that_changed_under_way(cache: Cache) -> None:
    mark = cache.mark()
    cache.changed({"fields": ["api_id"]})
    cache.learn_fields(["api_id", "user_id"], [1, 2], mark)
    assert cache.fields == {"user_id": 2}


def test_an_address_follows_its_data_centre(cache: Cache) -> None:
    cache.learn_fields(["server_address", "port", "user_id"], ["a", 1, 2], cache.mark())
    cache.setting(["dc_id"])
    assert cache.fields == {"user_id": 2}


def test_a_name_that_changed_under_way(cache: Cache) -> None:
    mark = cache.mark()
    cache.changed({"usernames": ["name"]})
    cache.learn_username("name", peer(1), mark)
    assert cache.by_username("name", 0) is None and cache.peers.get(1) is not None
    mark = cache.mark()
    cache.changed({"phones": ["49"]})
    cache.learn_phone_number("49", peer(1, phone_number="49"), mark)
    assert cache.by_phone_number("49") is None


def test_a_name_that_its_peer_loses(cache: Cache) -> None:
    cache.learn_username("old", peer(1), cache.mark())
    mark = cache.mark()
    cache.writing_usernames([(1, ["new"])])
    assert cache.by_username("old", 0) is None and cache.peers.get(1) is not None
    cache.learn_username("old", peer(1), mark)
    assert cache.by_username("old", 0) is None
