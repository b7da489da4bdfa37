"""Every method of the protocol with the package's own client and a running daemon."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import gramd
import pytest

from daemon import Daemon

KEY = bytes(range(256))
ROWS = [(5, 50, "user", "five", "495"), (-6, None, "group", None, None), (7, -7, "bot", None, None, 1000)]


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def test_the_daemon(daemon: Daemon) -> None:
    async with gramd.Client(name="a test") as client:
        hello = await client.hello()
        assert hello["server"] == "gramd" and hello["protocol"] == 1 and "file" in hello["backends"]
        assert client.features == set(hello.get("features", []))
        for value in (None, True, -5, 1 << 63, "text", b"\xff", [1, {"a": 2.5}]):
            assert await client.ping(value) == value
        async with await client.open("one"), await client.open("two"):
            assert [each["name"] for each in await client.sessions()] == ["one", "two"]
            assert [each["name"] for each in await client.sessions("t*")] == ["two"]
            assert [each["name"] for each in await client.sessions(None, after="one", limit=5)] == ["two"]
            [us] = await client.clients()
            assert us["client"] == "a test" and sorted(us["sessions"]) == ["one", "two"]
        stats = await client.stats()
        assert stats and all(isinstance(value, (int, float)) for value in stats.values())


async def test_identity(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("acc") as session:
        assert session.created and session.backend == "file" and session.dialect == "pyrogram"
        assert await session.get(*gramd.session.FIELDS) == [2, None, None, None, 0, *[None] * 5]
        await session.set(
            dc_id=4, api_id=1, test_mode=False, auth_key=KEY, user_id=9, is_bot=True, takeout_id=3
        )
        assert await session.get("auth_key", "takeout_id", "dc_id") == [KEY, 3, 4]
        text = await session.export_string()
        old = await session.export_string("pyrogram-old64")
        await session.save()
        assert abs((await session.get("date"))[0] - time.time()) < 60
        assert await session.lease() is None
        info = await session.info()
        assert info["name"] == "acc" and info["handles"] == 1
        with pytest.raises(gramd.BadRequest):
            await session.set(dc_id=None)
        with pytest.raises(gramd.BadRequest):
            await session.set(nonsense=1)
        async with await client.open("other") as other:
            await other.import_string(text)
            await other.import_string(text)  # a repetition changes nothing
            assert await other.get("auth_key", "api_id", "user_id", "date") == [KEY, 1, 9, 0]
            await other.set(auth_key=KEY[::-1])
            with pytest.raises(gramd.Exists):
                await other.import_string(text)
            await other.import_string(old, format="pyrogram-old64", overwrite=True, api_id=77)
            assert await other.get("auth_key", "api_id") == [KEY, 77]
            with pytest.raises(gramd.BadRequest):
                await other.import_string("no session string")


@pytest.mark.parametrize("cache", [True, False])
async def test_peers_and_states(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, cache: bool) -> None:
    # This process's clock is a second ahead of the daemon's. A row that is written without a time gets the time
    # of the daemon in the store, and that of the writer in the writer's cache.
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 1)
    async with gramd.Client() as client, await client.open("acc", cache=cache) as session:
        await session.update_peers(ROWS)
        await session.update_peers([])
        five = await session.get_peer_by_id(5)
        assert five[:5] == ROWS[0] and abs(five.last_update_on - time.time()) < 60
        assert await session.get_peer_by_id(7) == gramd.Peer(*ROWS[2])
        assert (await session.get_peer_by_phone_number("495"))[:5] == ROWS[0]
        assert (await session.get_peer_by_username("five"))[:5] == ROWS[0]
        await session.update_usernames([[7, ["seven", "sept"]], [5, ["fünf"]]])
        assert (await session.get_peer_by_username("sept", 0)).id == 7
        with pytest.raises(gramd.Expired):
            await session.get_peer_by_username("sept")
        assert [peer and peer[:5] for peer in await session.get_peers([5, 6, -6])] == [ROWS[0], None, ROWS[1]]
        assert [peer.id for peer in await session.scan_peers()] == [-6, 5, 7]
        assert [peer.id for peer in await session.scan_peers(-6, 1)] == [5]
        names = await session.scan_usernames()
        assert [(each.username, each.peer_id) for each in names] == [("fünf", 5), ("sept", 7), ("seven", 7)]
        assert [each.username for each in await session.scan_usernames(("fünf", 5), 1)] == ["sept"]
        with pytest.raises(gramd.BadRequest):
            await session.update_peers([(1, 2, "user")])
        with pytest.raises(gramd.BadRequest):
            await session.update_peers([(1, 2, "user", None, 5)])
        for rows in ([5], [None], [("x",)], [(1, "name")]):
            with pytest.raises(gramd.BadRequest):
                await session.update_usernames(rows)
        with pytest.raises(gramd.TooLarge):
            await session.get_peers(range(1001))
        await session.update_states([(0, 1, 2, 30, 4), (9, 5, None, None, None)])
        await session.update_states([(0, 7, None, None, None)], keep=True)
        assert await session.get_states() == [(9, 5, None, None, None), (0, 7, 2, 30, 4)]
        assert await session.get_states([0]) == [(0, 7, 2, 30, 4)]
        assert await session.get_states([]) == []
        await session.remove_states([9, 10])
        assert len(await session.get_states()) == 1


async def test_watching(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("acc") as one, await client.open("acc") as other:
        told: list[dict[str, Any]] = []
        one.on_changed = told.append
        await other.set(api_id=1)
        await one.watch()
        await other.set(api_id=2)
        await other.update_peers(ROWS)
        await client.ping()
        assert told[0]["fields"] == ["api_id"] and 5 in told[1]["peers"] and "five" in told[1]["usernames"]
        told.clear()
        await one.set(api_id=3)
        await one.watch(False)
        await other.set(api_id=4)
        assert not told
        await one.watch()
        await asyncio.to_thread(daemon.kill)
        await asyncio.to_thread(daemon.start)
        await until(lambda: told)
        assert told == [{"all": True}]


async def test_opening(daemon: Daemon) -> None:
    async with gramd.Client() as client:
        with pytest.raises(gramd.NotFound):
            await client.open("acc", create=False)
        for name in ("", "a/b", ".hidden", "x" * 201):
            with pytest.raises((gramd.BadRequest, gramd.TooLarge)):
                await client.open(name)
        with pytest.raises(gramd.BadRequest):
            await client.open("acc", mode="nonsense")
        holder = await client.open("acc", mode="exclusive", dialect="kurigram")
        with pytest.raises(gramd.Busy) as caught:
            await client.open("acc")
        assert caught.value.holder is not None and caught.value.holder["client"] in str(caught.value)
        waiting = asyncio.ensure_future(client.open("acc", wait=20.5))
        await client.ping()
        await holder.close()
        session = await waiting
        assert session.dialect == "kurigram" and not session.created
        memory = await client.open("mem", backend="memory", linger=60)
        await memory.set(api_id=5)
        await memory.close()
        memory = await client.open("mem", backend="memory", create=False)
        assert await memory.get("api_id") == [5]
        with pytest.raises(gramd.UnknownMethod):
            await client.call("no_such_method")


async def test_opens_that_the_end_of_the_daemon_interrupts_are_granted_by_the_next(daemon: Daemon) -> None:
    """The daemon is to end before it has opened them; one of them waits for another client."""
    async with gramd.Client() as client, gramd.Client() as other:
        await client.ping()
        await other.open("held", mode="exclusive")
        daemon.freeze()
        opens = [asyncio.ensure_future(client.open("held", mode="exclusive", wait=60))]
        opens += [asyncio.ensure_future(client.open(f"acc{n}")) for n in range(200)]
        await asyncio.sleep(0)  # they are sent
        await asyncio.to_thread(daemon.stop)
        await other.close()
        await asyncio.to_thread(daemon.start)
        await asyncio.gather(*opens)


async def test_closing_and_opening_again_keeps_the_connection(daemon: Daemon) -> None:
    async with gramd.Client() as client:
        stays = await client.open("stays", mode="exclusive")
        [before] = await client.clients()
        for n in range(5):
            async with await client.open("acc") as session:
                await session.set(api_id=n)
                assert await session.get("api_id") == [n]
        assert await stays.get("dc_id") == [2]
        [after] = await client.clients()
        assert after["id"] == before["id"]


async def test_deleting(daemon: Daemon) -> None:
    lost: list[gramd.Error] = []
    async with gramd.Client() as client, gramd.Client() as bystander:
        session = await client.open("acc")
        await bystander.open("acc", on_lost=lost.append)
        await session.delete()
        with pytest.raises(gramd.NotFound):
            await session.get("dc_id")
        await until(lambda: lost)
        assert lost[0].code == "not_found"
        with pytest.raises(gramd.NotFound):
            await client.open("acc", create=False)


async def test_a_drain_is_on_until_it_is_ended(daemon: Daemon) -> None:
    async with gramd.Client() as operator:
        for on in (True, False):
            await operator.drain(on)
            assert (await operator.stats())["draining"] == on


async def test_an_operator_disconnects_a_client(daemon: Daemon) -> None:
    lost: list[gramd.Error] = []
    async with gramd.Client(name="operator") as operator, gramd.Client(name="bot") as bot:
        session = await bot.open("acc", on_lost=lost.append)
        [number] = [each["id"] for each in await operator.clients() if each["client"] == "bot"]
        await operator.disconnect(number)
        await until(lambda: lost)
        assert lost[0].code == "denied"
        with pytest.raises(gramd.Denied):
            await session.get("dc_id")
        assert not [each for each in await operator.clients() if "acc" in each["sessions"]]


async def test_monitoring(daemon: Daemon) -> None:
    seen: list[dict[str, Any]] = []
    async with gramd.Client() as client, gramd.Client(name="bot") as bot:
        await client.monitor(seen.append)
        async with await bot.open("acc") as session:
            await session.set(api_id=1)
        await client.ping()
        assert "set" in [each["method"] for each in seen if each["session"] == "acc"]
        await client.monitor(None)
        seen.clear()
        await bot.ping()
        await client.ping()
        assert not seen


async def test_more_requests_than_may_be_in_flight(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("acc") as one, await client.open("acc") as same:
        sessions = [one, same]
        await asyncio.gather(
            *(sessions[n % 2].update_peers([(n, n, "user", None, None)]) for n in range(1, 2000))
        )
        peers = await asyncio.gather(*(sessions[n % 2].get_peer_by_id(n) for n in range(1, 2000)))
        assert [peer.access_hash for peer in peers] == list(range(1, 2000))


def test_the_blocking_client(daemon: Daemon) -> None:
    with gramd.SyncClient(name="script") as client, client.open("acc", cache=True) as session:
        session.update_peers(ROWS)
        session.set(api_id=1)
        assert session.get("api_id", "dc_id") == [1, 2]
        assert [peer.id for peer in session.scan_peers(None, 10)] == [-6, 5, 7]
        daemon.kill()
        daemon.start()
        assert session.get_peer_by_username("five").id == 5
        with pytest.raises(gramd.NotFound):
            session.get_peer_by_phone_number("1")
        with pytest.raises(gramd.NotFound):
            client.open("other", create=False)
        assert [each["name"] for each in client.sessions("*")] == ["acc"]


async def attempt(work: Any) -> Any:
    """The answer. Peers are without their time: the writer's cache may have that of the next second."""
    try:
        answer = await work
    except gramd.NotFound:
        return None
    peers = answer if isinstance(answer, list) else [answer]
    return [each[:5] if isinstance(each, gramd.Peer) else each for each in peers]


@pytest.mark.parametrize("seed", range(4))
async def test_caches_answer_what_is_stored(daemon: Daemon, seed: int) -> None:
    """Clients with caches read and write the same rows at the same time, and connections are lost. After each
    round the caches must answer the same as a client without one."""
    dice = random.Random(seed)
    async with gramd.Client() as one, gramd.Client() as two, gramd.Client() as plain:
        cached = [await client.open("acc", cache=True) for client in (one, two, two)]
        truth = await plain.open("acc")

        def write(session: gramd.Session) -> Any:
            i, k = dice.randrange(1, 6), dice.randrange(3)
            if dice.random() < 0.2:
                return session.set(**{dice.choice(["api_id", "user_id", "dc_id"]): dice.randrange(1, 6)})
            if dice.random() < 0.3:
                return session.update_usernames([[i, [f"table{i}-{n}" for n in range(k)]]])
            return session.update_peers([[i, dice.getrandbits(40), "user", f"own{i}-{k}", f"49{i}{k}"]])

        def questions(session: gramd.Session) -> list[Any]:
            asked: list[Any] = [session.get("api_id", "user_id", "dc_id"), session.get_peers(range(1, 6))]
            for i in range(1, 6):
                asked.append(session.get_peer_by_id(i))
                for k in range(3):
                    asked.append(session.get_peer_by_username(f"own{i}-{k}"))
                    asked.append(session.get_peer_by_username(f"table{i}-{k}"))
                    asked.append(session.get_peer_by_phone_number(f"49{i}{k}"))
            return [attempt(each) for each in asked]

        for _ in range(40):
            under_way = []
            for _ in range(dice.randrange(1, 8)):
                session = dice.choice(cached)
                under_way.append(asyncio.ensure_future(write(session)))
                reading = questions(dice.choice(cached))
                under_way.append(asyncio.ensure_future(asyncio.gather(*reading)))
                if dice.random() < 0.5:
                    await asyncio.sleep(0)
            if dice.random() < 0.1 and two._connection is not None:
                two._connection.abort()
            await asyncio.gather(*under_way)
            expected = await asyncio.gather(*questions(truth))
            for session in cached:
                await session.client.ping()  # all notifications come before its answer
                for _ in range(2):
                    assert await asyncio.gather(*questions(session)) == expected


@pytest.mark.parametrize("killed", [False, True])
async def test_a_repeated_write_leaves_what_others_wrote_meanwhile(daemon: Daemon, killed: bool) -> None:
    async with gramd.Client() as client, gramd.Client() as other:
        session = await client.open("acc")
        theirs = await other.open("acc")
        for number in range(1, 40, 2):
            connection = client._connection
            assert connection is not None and connection._transport is not None
            connection._transport.pause_reading()  # the answer gets lost
            writing = asyncio.ensure_future(session.set(user_id=number))
            while await theirs.get("user_id") != [number]:
                await asyncio.sleep(0)
            await theirs.set(user_id=number + 1)
            if killed:
                daemon.kill()
            connection.abort()
            if killed:
                daemon.start()
            await writing
            assert await session.get("user_id") == await theirs.get("user_id") == [number + 1]
