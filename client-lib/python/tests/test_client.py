from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from fake import AFTER, BEFORE, LATE, SILENT, FakeGramd, Refusal

import gramd
from gramd import errors
from gramd.request import RETRY
from gramd.session import REOPEN_WAIT

ROW = [1, 10, "user", "someone", "4912345"]
KNOWN = ["leave", "lease", "id", "owner", "kv", "pyrotgfork", "elsewhere"]
"""The features of the package."""


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_answers_are_matched_to_requests(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        assert await asyncio.gather(*(client.ping(n) for n in range(500))) == list(range(500))


@pytest.mark.parametrize("wait", ["x", "5", None])
async def test_a_wait_that_is_no_number_is_named(fake: FakeGramd, wait: Any) -> None:
    async with fake, gramd.Client(fake.path) as client:
        with pytest.raises(TypeError, match=f"`wait` is a number of seconds, not {wait!r}"):
            await client.open("anna", wait=wait)


async def test_the_daemon_may_start_after_its_client(fake: FakeGramd) -> None:
    async with gramd.Client(fake.path) as client:
        waiting = asyncio.ensure_future(client.ping("there?"))
        await asyncio.sleep(0)
        async with fake:
            assert await waiting == "there?"


async def test_without_a_daemon_a_request_ends_with_its_timeout(fake: FakeGramd) -> None:
    async with gramd.Client(fake.path, timeout=0.05) as client:
        with pytest.raises(gramd.TimedOut, match=r"gramd\.sock.*No such file"):
            await client.ping()


async def test_a_request_without_an_answer_times_out(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path, timeout=0.05) as client:
        fake.faults = [("ping", SILENT)]
        with pytest.raises(TimeoutError):
            await client.ping(1)
        client.timeout = 30
        assert await client.ping(2) == 2


@pytest.mark.parametrize("code", list(errors.BY_CODE))
async def test_every_code_is_an_exception(fake: FakeGramd, code: str) -> None:
    async with fake, gramd.Client(fake.path) as client:
        fake.faults = [("ping", Refusal(code, {"field": 1}))]
        with pytest.raises(gramd.Error) as caught:
            await client.ping()
        assert caught.value.code == code and caught.value.detail == {"field": 1}
        assert type(caught.value).__name__ == code.title().replace("_", "")


async def test_the_name_of_the_program_is_shortened(fake: FakeGramd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/" + "ü" * 200])
    async with fake, gramd.Client(fake.path) as client:
        await client.ping()
        assert fake.seen[0][1][0]["client"] == "ü" * 127  # the daemon takes 255 bytes


def hellos(fake: FakeGramd) -> list[dict[str, Any]]:
    return [params[0] for method, params in fake.seen if method == "hello"]


async def test_hello_exchanges_features(fake: FakeGramd, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake, gramd.Client(fake.path, name="bot") as client:
        assert client.features == frozenset()
        await client.ping()
        assert hellos(fake) == [{"client": "bot", "features": KNOWN, "id": client._id}]
        assert client.features == {"a feature", "another"}
        assert (await client.hello())["features"] == ["a feature", "another"]
        await client.open("a")  # the answers have unknown keys
        monkeypatch.setattr("gramd.caller.FEATURES", ("mine",))
        await client.hello()
        assert hellos(fake)[-1] == {"client": "bot", "features": ["mine"], "id": client._id}


@pytest.mark.parametrize("features", [None, [], {}, "text", 5, [1, None, b"x", ["y"]]])
async def test_invalid_features_are_ignored(fake: FakeGramd, features: Any) -> None:
    fake.features = features
    async with fake, gramd.Client(fake.path) as client:
        assert (await client.hello())["server"] == "gramd"
        assert client.features == frozenset()


async def test_hello_is_repeated_without_features_if_refused(fake: FakeGramd) -> None:
    fake.older = True
    async with fake, gramd.Client(fake.path, name="bot") as client:
        both = [
            {"client": "bot", "features": KNOWN, "id": client._id},
            {"client": "bot"},
        ]
        await client.ping()
        await until(lambda: client.server)
        assert hellos(fake) == both
        fake.seen.clear()
        assert (await client.hello())["max_in_flight"] == 4
        assert hellos(fake) == both
        assert client.features == frozenset()
        assert len(fake.connections) == 1


async def test_hello_is_repeated_once(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        await client.ping()
        fake.faults = [("hello", Refusal("bad_request"))] * 2
        with pytest.raises(gramd.BadRequest):
            await client.hello()
        assert not fake.faults and await client.ping(1) == 1


async def test_the_features_are_those_of_the_connected_daemon(fake: FakeGramd) -> None:
    async with gramd.Client(fake.path) as client:
        async with fake:
            await client.hello()
        await until(lambda: not client.features)
        fake.older = True
        async with fake:
            await client.hello()
            assert client.features == frozenset()
        await until(lambda: client._connection is None)
        fake.older = False
        async with fake:
            await client.hello()
            assert client.features == {"a feature", "another"}


@pytest.mark.parametrize("older", [False, True])
async def test_closing_and_opening_again_keeps_the_connection(fake: FakeGramd, older: bool) -> None:
    """Older daemons give handles of 2^20 and more to sessions that are opened again."""
    fake.older = older
    told: list[dict[str, Any]] = []
    async with fake, gramd.Client(fake.path) as client, gramd.Client(fake.path) as other:
        stays, beside = await client.open("stays"), await other.open("a")
        for n in range(4):
            session = await client.open("a")
            session.on_changed = told.append
            assert session.handle is not None and (session.handle > 1 << 20) == older
            await session.set(api_id=n)
            assert await session.get("api_id") == [n]
            await beside.set(api_id=n + 1)
            await client.ping()  # the notification comes before its answer
            assert told == [{"fields": ["api_id"]}] * (n + 1)
            await session.close()
        assert await stays.get("dc_id") == [2]
        assert fake.methods().count("open") == 6 and len(fake.connections) == 2


async def test_busy_names_the_holder(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        await client.open("a", mode="exclusive")
        with pytest.raises(gramd.Busy, match=r"other.*7.*elsewhere") as caught:
            await client.open("a")
        assert caught.value.holder is not None and caught.value.holder["pid"] == 7


async def test_invalid_parameters_are_not_sent(fake: FakeGramd) -> None:
    async with gramd.Client(fake.path) as client:
        with pytest.raises(gramd.BadRequest):
            await client.ping(object())
        with pytest.raises(gramd.BadRequest):
            await client.ping(1 << 64)
        with pytest.raises(gramd.BadRequest):
            await client.ping("\ud800")
        with pytest.raises(gramd.TooLarge):
            await client.ping(bytes(5 << 20))
        assert not fake.seen


@pytest.mark.parametrize("when", [BEFORE, AFTER])
async def test_unanswered_requests_are_repeated_in_order(fake: FakeGramd, when: str) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a")
        fake.faults = [("update_peers", when)]
        writes = [session.update_peers([[n % 3, n, "user", None, None]]) for n in range(20)]
        rows = await asyncio.gather(*writes, session.get_peer_by_id(1), session.get_peer_by_id(2))
        assert [row.access_hash for row in rows[-2:]] == [19, 17]
        hashes = [params[0][0][1] for method, params in fake.seen if method == "update_peers"]
        repeated = hashes.index(0, 1) if when == AFTER else 0
        assert hashes[repeated:] == list(range(20))


async def test_requests_in_flight_are_limited(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        await client.hello()
        one, same = await client.open("a"), await client.open("a")
        other = await client.open("b")
        await asyncio.gather(one.get("dc_id"), same.get("dc_id"))
        fake.faults = [("get_peers", SILENT)] * 4
        stuck = [asyncio.ensure_future(each.get_peers([1])) for each in (one, same, one, same)]
        held = [asyncio.ensure_future(each.get_states()) for each in (one, same)]
        while fake.faults:
            await asyncio.sleep(0)
        await other.get("dc_id")
        assert ("get_states", []) not in fake.seen
        fake.connections[0].transport.abort()
        await asyncio.gather(*stuck, *held)


async def test_an_answer_that_takes_many_reads(fake: FakeGramd) -> None:
    text = "".join(map(str, range(100_000)))
    async with fake, gramd.Client(fake.path) as client:
        assert await client.ping(text) == text
        assert await asyncio.gather(*map(client.ping, [text, "", text])) == [text, "", text]


async def test_sessions_come_back_with_the_daemon(fake: FakeGramd) -> None:
    async with gramd.Client(fake.path) as client:
        async with fake:
            sessions = [await client.open(name) for name in "abc"]
        writes = [asyncio.ensure_future(s.set(api_id=n)) for n, s in enumerate(sessions)]
        async with fake:
            await asyncio.gather(*writes)
            assert [(await s.get("api_id"))[0] for s in sessions] == [0, 1, 2]
            creating = [params[1]["create"] for method, params in fake.seen if method == "open"]
            assert creating == [True] * 3 + [False] * 3


async def test_a_deleted_session_is_not_created_again(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    async with gramd.Client(fake.path) as client:
        async with fake:
            session = await client.open("a", on_lost=lost.append)
        fake.sessions.clear()
        async with fake:
            with pytest.raises(gramd.NotFound):
                await session.get("dc_id")
            with pytest.raises(gramd.NotFound):
                await session.get("dc_id")
        assert [error.code for error in lost] == ["not_found"] and not fake.sessions


async def test_a_repeated_deletion_succeeds(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", on_lost=lost.append)
        fake.faults = [("delete", AFTER)]
        await session.delete()
        assert not fake.sessions and not lost


async def test_a_deletion_by_another_client_is_a_loss(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", on_lost=lost.append)
        other = await client.open("a")
        await other.delete()
        await until(lambda: lost)
        with pytest.raises(gramd.NotFound):
            await session.get("dc_id")
        with pytest.raises(gramd.NotFound):
            await other.get("dc_id")


async def test_a_repeated_exclusive_open_waits_for_the_lost_connection(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        fake.faults = [("open", AFTER)]
        await client.open("a", mode="exclusive")
        waits = [params[1]["wait"] for method, params in fake.seen if method == "open"]
        assert waits == [0, REOPEN_WAIT]


async def test_reopening_is_retried(fake: FakeGramd) -> None:
    async with gramd.Client(fake.path) as client:
        async with fake:
            session = await client.open("a")
        fake.faults = [("open", Refusal("unavailable")), ("open", Refusal("storage"))]
        async with fake:
            assert await session.get("dc_id") == [2]
            assert not fake.faults


async def test_a_session_is_reopened_once(fake: FakeGramd) -> None:
    """The connection is lost again before the next attempt to reopen."""
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", mode="exclusive")
        fake.faults = [("open", Refusal("unavailable"))]
        fake.connections[0].transport.abort()
        await until(lambda: not fake.faults)
        fake.faults = [("open", LATE)]
        fake.connections[0].transport.abort()
        await until(lambda: not fake.faults)
        await asyncio.sleep(2 * RETRY)  # until after the time of the first retry
        await client.ping()  # the late answer follows this one
        assert await session.get("dc_id") == [2]
        assert [method for method, _ in fake.seen].count("open") == 2


async def test_reopening_that_is_answered_after_its_timeout(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", mode="exclusive")
        session.timeout = 0.05
        fake.faults = [("open", LATE)]
        fake.connections[0].transport.abort()
        await until(lambda: [method for method, _ in fake.seen].count("open") == 2)
        with pytest.raises(gramd.TimedOut):
            await session.get("dc_id")
        await until(lambda: session._reopening is False)
        session.timeout = 30
        await client.ping()  # the late answer follows this one
        assert await session.get("dc_id") == [2]
        await asyncio.sleep(2 * RETRY)
        assert await session.get("dc_id") == [2]


async def test_a_lease_request_that_fails_is_retried(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    fake.lease = 300
    fake.faults = [("lease", Refusal("unavailable"))]
    async with gramd.Client(fake.path) as client:
        async with fake:
            await client.open("a", on_lost=lost.append)
            await until(lambda: ("lease", []) in fake.seen)
        await until(lambda: lost)
        assert [error.code for error in lost] == ["fenced"]


async def test_on_lost_is_called_once(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    fake.lease = 100
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", on_lost=lost.append)
        await until(lambda: session._lease._until is not None)
        fake.faults = [("set", Refusal("fenced")), ("get", Refusal("fenced"))]
        for error in await asyncio.gather(session.set(api_id=1), session.get("date"), return_exceptions=True):
            assert isinstance(error, gramd.Fenced)
        fake.notify("a", "ended", "fenced", "another host")
        await client.ping()
        await asyncio.sleep(0.2)  # until after the end of the lease
        assert len(lost) == 1


async def test_fenced_ends_the_session(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", on_lost=lost.append)
        fake.faults = [("set", Refusal("fenced"))]
        with pytest.raises(gramd.Fenced):
            await session.set(api_id=1)
        assert [error.code for error in lost] == ["fenced"]


async def test_an_operator_ends_the_session(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", on_lost=lost.append)
        fake.notify("a", "ended", "denied", "an operator disconnected you")
        fake.connections[0].transport.write(b"")
        await until(lambda: lost)
        with pytest.raises(gramd.Denied):
            await session.save()
        assert await client.ping(1) == 1


async def test_on_lost_need_not_take_the_reason(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        lost, later = asyncio.Event(), asyncio.Event()

        async def after_all() -> None:
            later.set()

        for callback in (lost.set, after_all):
            await client.open("a", on_lost=callback)
        fake.notify("a", "ended", "fenced", "another host")
        await asyncio.gather(lost.wait(), later.wait())


@pytest.mark.parametrize("cache", [False, True])
async def test_a_lease_that_was_never_told_is_over_with_the_connection(fake: FakeGramd, cache: bool) -> None:
    """The daemon has given a lease with its answer to `open`."""
    lost: list[gramd.Error] = []
    fake.fence, fake.lease = 4, 60000
    fake.faults = [("lease", BEFORE)]
    async with fake, gramd.Client(fake.path) as client:
        with contextlib.suppress(gramd.Fenced):  # it may end while `open` fills the cache
            await client.open("a", cache=cache, on_lost=lost.append)
        await asyncio.wait_for(until(lambda: lost), 30)
        assert lost[0].code == "fenced" and "lease" in lost[0].message


async def test_the_lease_is_taken_from_the_answer_to_open(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    fake.fence, fake.open_lease = 4, 400
    fake.faults = [("lease", SILENT)] * 10
    async with gramd.Client(fake.path) as client:
        async with fake:
            await client.open("a", on_lost=lost.append)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)
        assert not lost  # it outlives the connection
        await asyncio.wait_for(until(lambda: lost), 30)


async def test_a_lease_that_is_over_when_its_answer_is_read(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    fake.fence, fake.open_lease = 4, 0
    fake.faults = [("lease", SILENT)]
    async with fake, gramd.Client(fake.path) as client:
        await client.open("a", on_lost=lost.append)
        await asyncio.wait_for(until(lambda: lost), 30)
        assert lost[0].code == "fenced"


async def test_a_lease_that_is_not_told_in_time_is_over(
    fake: FakeGramd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gramd.lease, "FIRST_ANSWER", 0.1)
    lost: list[gramd.Error] = []
    fake.fence = 4
    fake.faults = [("lease", SILENT)]
    async with fake, gramd.Client(fake.path) as client:
        await client.open("a", on_lost=lost.append)
        await asyncio.wait_for(until(lambda: lost), 30)
        assert lost[0].code == "fenced"


async def test_a_lease_that_is_told_outlives_the_connection(
    fake: FakeGramd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gramd.lease, "FIRST_ANSWER", 0.1)
    fake.fence, fake.lease = 4, 60000
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a")
        await session.get("dc_id")  # `lease` was sent before
        fake.connections[0].transport.abort()
        await asyncio.sleep(0.2)
        await session.get("dc_id")
        assert session.ended is None


async def test_a_lease_is_renewed_and_runs_out_without_the_daemon(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    fake.lease = 300
    async with gramd.Client(fake.path) as client:
        async with fake:
            session = await client.open("a", on_lost=lost.append)
            await until(lambda: [method for method, _ in fake.seen].count("lease") > 4)
            assert not lost and session.ended is None
        await until(lambda: lost)
        assert lost[0].code == "fenced" and "lease" in lost[0].message


async def test_an_error_in_a_callback_does_not_end_the_connection(fake: FakeGramd) -> None:
    async def fail_later(_: object) -> None:
        raise RuntimeError("mine")

    def fail(_: object) -> None:
        raise RuntimeError("mine")

    async with fake, gramd.Client(fake.path) as client:
        sessions = [
            await client.open(name, on_lost=callback) for name, callback in (("a", fail), ("b", fail_later))
        ]
        await client.ping()
        for name, session in zip("ab", sessions):
            session.on_changed = fail
            fake.notify(name, "changed", {"all": True})
            fake.notify(name, "ended", "fenced", "another host")
        assert await client.ping(1) == 1
        assert all(session.ended is not None for session in sessions)
        assert len([method for method, _ in fake.seen if method == "hello"]) == 1


async def test_closing_twice_and_using_a_closed_session(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a")
        await session.close()
        await session.close()
        with pytest.raises(gramd.BadSession):
            await session.get("dc_id")
        assert fake.methods() == ["open", "close"]


async def test_a_cancelled_open_leaves_no_handle(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        await client.ping()
        opening = asyncio.ensure_future(client.open("a"))
        await asyncio.sleep(0)
        opening.cancel()
        await until(lambda: ("close", []) in fake.seen)
        assert not fake.connections[0].handles


async def test_closing_a_client_fails_its_requests(fake: FakeGramd) -> None:
    async with fake:
        client = gramd.Client(fake.path)
        session = await client.open("a")
        fake.faults = [("ping", SILENT)]
        waiting = asyncio.ensure_future(client.ping())
        await until(lambda: not fake.faults)
        await client.close()
        with pytest.raises(gramd.Disconnected):
            await waiting
        with pytest.raises(gramd.Disconnected):
            await session.get("dc_id")
        with pytest.raises(gramd.Disconnected):
            await client.ping()


async def test_invalid_bytes_from_the_daemon(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        await client.ping()
        fake.connections[0].transport.write(b"\xc1\xc1\xc1")
        with pytest.raises(gramd.ProtocolError):
            await client.ping(4)
        assert await client.ping(5) == 5


def test_the_blocking_client(fake: FakeGramd) -> None:
    with fake.elsewhere(), gramd.SyncClient(fake.path) as client:
        assert client.ping(3) == 3
        assert client.features == {"a feature", "another"}
        with client.open("a", cache=True) as session:
            session.update_peers([ROW])
            assert session.get_peer_by_username("someone").id == 1
            with pytest.raises(gramd.NotFound):
                session.get_peer_by_id(99)


async def test_closing_a_session_without_a_daemon(fake: FakeGramd) -> None:
    async with gramd.Client(fake.path) as client:
        async with fake:
            session = await client.open("a")
        writing = asyncio.ensure_future(session.set(api_id=1))
        await asyncio.sleep(0)
        await session.close()
        with pytest.raises(gramd.BadSession):
            await writing
        async with fake:
            assert await client.ping(1) == 1
            assert fake.methods().count("open") == 1


async def test_chown_gives_a_session_away(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client, await client.open("anna") as session:
        await session.chown("alice:bots")
        assert fake.sessions["anna"]["owner"] == "alice:bots"
        await session.chown(None)
        assert fake.sessions["anna"]["owner"] is None
        fake.faults = [("chown", Refusal("denied"))]
        with pytest.raises(errors.Denied):
            await session.chown("bob")
    assert [params for method, params in fake.seen if method == "chown"] == [["alice:bots"], [None]]
