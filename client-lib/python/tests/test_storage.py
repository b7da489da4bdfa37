"""The storages, with a made-up library: every call of the real libraries, with all kinds of arguments."""

from __future__ import annotations

import asyncio
import contextlib
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest
from fake import AFTER, FakeGramd, Refusal
from library import App, Channel, Chat, ListStorage, UpdateState, User, storage

import gramd
from gramd import family, stop

PEERS = [
    (1, 10, "user", "someone", "4912345"),
    (2, None, "bot", None, None),
    (-3, 0, "group", None, None),
    (-1000000000004, 40, "supergroup", "chan", None),
]


@pytest.mark.parametrize("cache", [True, False])
async def test_peers(fake: FakeGramd, cache: bool) -> None:
    async with fake:
        it = storage(family.Storage, fake, cache=cache)
        await it.open()
        await it.update_peers(PEERS)
        for _ in range(2):
            assert await it.get_peer_by_id(1) == User(1, 10)
            assert await it.get_peer_by_id("1") == User(1, 10)
            assert await it.get_peer_by_id(2) == User(2, None)
            assert await it.get_peer_by_id(-3) == Chat(3)
            assert await it.get_peer_by_id("-1000000000004") == Channel(4, 40)
            assert await it.get_peer_by_username("chan") == Channel(4, 40)
            assert await it.get_peer_by_phone_number("4912345") == User(1, 10)
        await it.close()


@pytest.mark.parametrize(
    "peer_id", ["me", "@Name", "+1555", "", "1.0", "\u0661", "9" * 30, "-", None, 1.5, 1 << 70, b"1", [1]]
)
async def test_invalid_ids(fake: FakeGramd, peer_id: Any) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        with pytest.raises(KeyError) as caught:
            await it.get_peer_by_id(peer_id)
        assert caught.value.args == (f"ID not found: {peer_id}",)
        assert "get_peer_by_id" not in fake.methods()
        await it.close()


async def test_the_messages_of_failed_look_ups(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        for name in ("nobody", "", "x" * 256, "\ud800", None):
            with pytest.raises(KeyError) as caught:
                await it.get_peer_by_username(name)
            assert caught.value.args == (f"Username not found: {name}",)
        with pytest.raises(KeyError) as caught:
            await it.get_peer_by_phone_number("123")
        assert caught.value.args == ("Phone number not found: 123",)
        fake.faults = [("get_peer_by_username", Refusal("expired"))]
        with pytest.raises(KeyError) as caught:
            await it.get_peer_by_username("old")
        assert caught.value.args == ("Username expired: old",)
        await it.close()


async def test_reading_a_peer_of_unknown_type_fails(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        await it.update_peers([(1, 1, "newest", None, None)])
        for _ in range(2):
            with pytest.raises(ValueError, match="Invalid peer type: newest"):
                await it.get_peer_by_id(1)
        await it.close()


async def test_empty_and_repeated_writes_are_not_sent(fake: FakeGramd) -> None:
    async with fake:
        for kind in (family.Storage, family.ElectrogramStorage, family.KurigramStorage):
            it = storage(kind, fake)
            await it.open()
            fake.seen.clear()
            await it.update_peers([])
            await it.update_usernames([])
            assert not fake.seen
            await it.update_peers(PEERS)
            await it.update_peers(PEERS[:2])
            await it.update_peers(iter(PEERS))
            assert fake.methods() == ["update_peers"]
            await it.update_peers([*PEERS, (5, 5, "user", None, None)])
            assert fake.seen[-1] == ("update_peers", [[[5, 5, "user", None, None]]])
            await it.close()


async def test_identity(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.IrenogramStorage, fake)
        await it.open()
        assert await it.dc_id() == 2 and await it.date() == 0 and await it.user_id() is None
        await it.test_mode(0)
        await it.is_bot(1)
        await it.auth_key(bytearray(b"k" * 256))
        await it.user_id(7)
        assert (await it.test_mode(), await it.is_bot()) == (False, True)
        assert await it.auth_key() == b"k" * 256
        await it.user_id(None)
        assert await it.user_id() is None
        await it.dc_id(4)
        assert (await it.dc_id(), await it.server_address(), await it.port()) == (4, "149.154.167.91", 443)
        await it.test_mode(True)
        assert (await it.test_mode(), await it.server_address()) == (True, None)
        await it.dc_id(2)
        await it.server_address("2001:67c:4e8:f002::e")
        await it.test_mode(True)
        await it.dc_id(2)
        assert await it.server_address() == "2001:67c:4e8:f002::e"
        await it.close()


async def test_the_accessors_cost_no_round_trip(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        before = len(fake.seen)
        for accessor in (it.dc_id, it.api_id, it.test_mode, it.auth_key, it.date, it.user_id, it.is_bot):
            await accessor()
        assert len(fake.seen) == before
        await it.close()


async def test_the_address_of_the_data_centre_if_none_is_stored(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.KurigramStorage, fake)
        await it.open()
        assert (await it.server_address(), await it.port()) == ("149.154.167.51", 443)
        await it.dc_id(1)
        await it.test_mode(True)
        assert (await it.server_address(), await it.port()) == ("149.154.175.10", 80)
        await it.server_address("2001:67c:4e8:f002::a")
        await it.port(444)
        assert (await it.server_address(), await it.port()) == ("2001:67c:4e8:f002::a", 444)
        await it.close()


async def test_open_again_without_close(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        await it.open()
        await it.close()
        await it.open()
        await it.dc_id(3)
        await it.close()
        await it.close()
        assert len(fake.connections) <= 1
        with pytest.raises(gramd.BadSession):
            await it.dc_id()


def test_open_again_in_another_event_loop(fake: FakeGramd) -> None:
    it = storage(family.Storage, fake)

    async def once(dc_id: int) -> int:
        async with fake:
            await it.open()
            before: int = await it.dc_id()
            await it.dc_id(dc_id)
        while it._client._connection is not None:  # the loop ends with the storage open
            await asyncio.sleep(0.001)
        return before

    assert asyncio.run(once(4)) == 2
    assert asyncio.run(once(5)) == 4


async def test_delete_before_and_after_close(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        await it.save()
        await it.close()
        await it.delete()
        assert not fake.sessions
        await it.delete()
        await it.open()
        await it.delete()
        assert not fake.sessions
        fake.sessions.clear()
        await it.open()
        await it.close()
        fake.faults = [("delete", AFTER)]
        await it.delete()
        assert not fake.sessions


async def test_delete_keeps_peers_if_told(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake, remove_peers=False)
        await it.open()
        await it.delete()
        await it.open()
        await it.close()
        await it.delete()
        assert [args for method, args in fake.seen if method == "delete"] == [[{"remove_peers": False}]] * 2


async def test_a_session_string_is_for_a_new_session(fake: FakeGramd) -> None:
    async with fake:
        for text in ("first", "second"):
            it = storage(family.Storage, fake, session_string=text)
            await it.open()
            assert await it.auth_key() == b"first"
            await it.close()


def test_a_session_string_is_not_shown() -> None:
    it = storage(family.Storage, FakeGramd("/nowhere"), session_string="a password")
    assert "password" not in repr(it) + repr(it._stored) + str(it._stored) + f"{it._stored}"


async def test_one_connection_for_all(fake: FakeGramd) -> None:
    async with fake:
        many = [storage(family.Storage, fake) for _ in range(5)]
        await asyncio.gather(*(it.open() for it in many))
        assert len(fake.connections) == 1
        await asyncio.gather(*(it.close() for it in many))
        while fake.connections:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("cache", [True, False])
async def test_peers_with_lists_of_usernames(fake: FakeGramd, cache: bool) -> None:
    async with fake:
        it = storage(ListStorage, fake, cache=cache)
        await it.open()
        await it.update_peers([(1, 10, "user", ["a", "b"], "491"), (-3, 0, "group", None, None)])
        assert fake.seen[-2:] == [
            ("update_peers", [[[1, 10, "user", "491"], [-3, 0, "group", None]]]),
            ("update_usernames", [[[1, ["a", "b"]], [-3, []]]]),
        ]
        for name in ("a", "b"):
            assert await it.get_peer_by_username(name) == User(1, 10)
        assert await it.get_peer_by_phone_number("491") == User(1, 10)
        await it.update_peers([(1, 10, "user", ("b",), "491")])
        with pytest.raises(KeyError):
            await it.get_peer_by_username("a")
        await it.update_peers([(1, 10, "user", None, "491")])
        with pytest.raises(KeyError):
            await it.get_peer_by_username("b")
        await it.close()


async def test_repeated_peers_with_lists_of_usernames_are_not_sent(fake: FakeGramd) -> None:
    async with fake:
        it = storage(ListStorage, fake)
        await it.open()
        rows = [(1, 10, "user", ["a"], None), (2, 20, "user", None, None)]
        await it.update_peers(rows)
        count = len(fake.seen)
        await it.update_peers(rows)
        assert len(fake.seen) == count
        await it.update_peers([rows[0], (2, 20, "user", ["b"], None)])
        assert fake.seen[count:] == [("update_usernames", [[[2, ["b"]]]])]
        await it.close()


@pytest.mark.parametrize("features", [[], ["pyrotgfork"]])
async def test_an_older_daemon_makes_a_file_that_the_library_migrates(
    fake: FakeGramd, monkeypatch: pytest.MonkeyPatch, features: list[str]
) -> None:
    fake.features = features
    async with fake:
        it = storage(ListStorage, fake)
        monkeypatch.setattr(type(it), "library", it.library._replace(dialect="pyrotgfork"))
        await it.open()
        [(_, options)] = [params for method, params in fake.seen if method == "open"]
        assert options["dialect"] == (features or ["pyrogram"])[0]
        await it.close()


ROW = (1, 10, "user", "a", "491")


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize(
    "rows",
    [
        [(*ROW, 0)],
        [ROW[:3]],
        [("1", *ROW[1:])],
        [(1, "10", *ROW[2:])],
        [(1, 10, None, "a", "491")],
        [(1, 10, "user", 5, "491")],
        [(1, 10, "user", [5], "491")],
        [(1, 10, "user", "a", 491)],
        [{"id": 1}],
        [None],
        {7},
        [([], 10, "user", "a", "491")],
    ],
)
async def test_rows_of_an_unknown_shape_are_refused(fake: FakeGramd, rows: Any, cache: bool) -> None:
    async with fake:
        it = storage(family.Storage, fake, cache=cache)
        await it.open()
        fake.seen.clear()
        first = repr(rows[0]) if isinstance(rows, list) else "7"
        with pytest.raises(gramd.BadRequest) as caught:
            await it.update_peers(rows)
        installed = f"msgpack {metadata.version('msgpack')}"
        assert str(caught.value) == (
            f"session acc: {installed} passes rows to update_peers whose shape gramd does not know;"
            f" the first is {first}"
        )
        assert not fake.seen
        await it.close()


@pytest.mark.parametrize("rows", [[(1, 5)], [(1, [5])], [("1", "a")], [(1, "a", 0)], [1], iter([(1, None)])])
async def test_usernames_of_an_unknown_shape_are_refused(fake: FakeGramd, rows: Any) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        with pytest.raises(
            gramd.BadRequest, match=r"^session acc: msgpack \S+ passes rows to update_usernames"
        ):
            await it.update_usernames(rows)
        await it.close()


async def test_flat_usernames(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        await it.update_peers(PEERS)
        await it.update_usernames([(1, "a"), (2, "c"), (1, "b")])
        assert fake.seen[-1] == ("update_usernames", [[[1, ["a", "b"]], [2, ["c"]]]])
        count = len(fake.seen)
        await it.update_usernames([(1, "a"), (1, "b")])
        assert len(fake.seen) == count
        assert await it.get_peer_by_username("b") == User(1, 10)
        await it.close()


async def test_listed_usernames(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.KurigramStorage, fake)
        await it.open()
        await it.update_usernames(iter([(1, ["a", None, "a"]), (1, ["b"]), (2, [])]))
        assert fake.seen[-1] == ("update_usernames", [[[1, ["a", "b"]], [2, []]]])
        await it.close()


@pytest.mark.parametrize("cache", [True, False])
async def test_bare_channel_ids(fake: FakeGramd, cache: bool) -> None:
    async with fake:
        it = storage(family.ElectrogramStorage, fake, cache=cache)
        await it.open()
        await it.update_peers(PEERS)
        await it.update_peers([(6, 60, "user", None, None), (-1000000000006, 61, "channel", None, None)])
        await it.update_usernames([(4, "one"), (4, "two"), (1, "x"), (99, "nobody"), (6, "both")])
        assert await it.get_peer_by_username("both") == User(6, 60)
        assert await it.get_peer_by_username("two") == Channel(4, 40)
        assert await it.get_peer_by_username("x") == User(1, 10)
        await it.close()


async def test_electrogram_gets_no_error_from_update_peers(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.ElectrogramStorage, fake)
        await it.open()
        fake.faults = [("update_peers", Refusal("storage"))]
        await it.update_peers(PEERS)
        with pytest.raises(KeyError):
            await it.get_peer_by_id(1)
        await it.close()


async def test_states_as_tuples(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.IrenogramStorage, fake)
        await it.open()
        assert await it.update_state() == []
        await it.update_state((0, 1, 2, 30, 4))
        await it.update_state([-5, 1, None, 20, None])
        await it.update_state((-6, 1, None, None, None))
        assert await it.update_state() == [
            (-6, 1, None, None, None),
            (-5, 1, None, 20, None),
            (0, 1, 2, 30, 4),
        ]
        await it.update_state((0, 9, None, 30, None))
        await it.update_state(-5)
        await it.remove_state("@name")
        await it.remove_state(-6)
        assert await it.update_state() == [(0, 9, None, 30, None)]
        await it.close()


async def test_states_as_objects(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.KurigramStorage, fake)
        await it.open()
        await it.set_update_state(UpdateState(0, 1, 2, 30, 4))
        await it.set_update_state(
            each for each in [UpdateState(0, 9, None, None, None), UpdateState(5, 1, None, 1, None)]
        )
        await it.set_update_state([])
        assert await it.get_update_states() == [UpdateState(5, 1, None, 1, None), UpdateState(0, 9, 2, 30, 4)]
        assert await it.get_update_states(0) == [UpdateState(0, 9, 2, 30, 4)]
        assert await it.get_update_states([]) == []
        assert isinstance((await it.get_update_states([5]))[0], UpdateState)
        await it.delete_update_state([])
        await it.delete_update_state((5, 6))
        await it.delete_update_state(0)
        assert await it.get_update_states() == []
        await it.close()


async def test_a_lost_session_stops_its_client(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        app, other = App(it), App(storage(family.Storage, fake))
        await it.open()
        fake.notify("acc", "ended", "fenced", "another host owns it")
        while app.is_connected:
            await asyncio.sleep(0.001)
        assert not app.is_initialized and other.is_connected
        with pytest.raises(gramd.BadSession):
            await it.dc_id()


class Raising(App):
    async def stop(self) -> None:
        raise RuntimeError("mine")


class Hanging(App):
    async def stop(self) -> None:
        while not self.session.stopped:  # also after it was cancelled
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("kind", [Raising, Hanging])
async def test_a_client_that_does_not_stop_loses_its_connections(
    fake: FakeGramd, monkeypatch: pytest.MonkeyPatch, kind: type[App]
) -> None:
    monkeypatch.setattr(stop, "STOP_TIMEOUT", 0.3)
    async with fake:
        it = storage(family.Storage, fake)
        apps = [kind(it), App(it), kind(it)]
        await it.open()
        fake.notify("acc", "ended", "fenced", "another host owns it")
        while not (apps[0].session.stopped and apps[2].session.stopped):
            await asyncio.sleep(0.001)
        assert not apps[1].is_connected and not apps[1].session.stopped
        await it.close()


async def test_closing_that_is_cancelled_closes_the_session(fake: FakeGramd) -> None:
    """It waits for a connection to another data centre that does not end."""
    stopping = asyncio.Event()

    async def hang() -> None:
        stopping.set()
        await asyncio.Event().wait()

    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        client = it._client
        it.data_centres = SimpleNamespace(close=lambda: [SimpleNamespace(stop=hang)])
        closing = asyncio.ensure_future(it.close())
        await stopping.wait()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert client.closed and ("close", []) in fake.seen


async def test_a_subclass_of_the_client_stops_in_its_own_way(fake: FakeGramd) -> None:
    farewells = []

    class Bot(App):
        async def stop(self) -> None:
            farewells.append("bye")
            await super().stop()

    async with fake:
        it = storage(family.Storage, fake)
        app = Bot(it)
        await it.open()
        fake.notify("acc", "ended", "fenced", "another host owns it")
        while app.is_connected:
            await asyncio.sleep(0.001)
        assert farewells == ["bye"]


async def test_a_lost_session_calls_on_lost(fake: FakeGramd) -> None:
    async with fake:
        for asynchronous in (False, True):
            reasons: asyncio.Queue[gramd.Error] = asyncio.Queue()
            callback = reasons.put if asynchronous else reasons.put_nowait
            it = storage(family.Storage, fake, on_lost=callback)
            await it.open()
            await it.update_peers(PEERS)
            fake.faults = [("update_peers", Refusal("fenced"))]
            with pytest.raises(gramd.Fenced):
                await it.update_peers([(1, 11, "user", None, None)])
            assert (await reasons.get()).code == "fenced"
            for lookup in (it.get_peer_by_id(1), it.dc_id(), it.get_peer_by_username("chan")):
                with pytest.raises(gramd.Fenced):  # the cache answers nothing
                    await lookup
            await it.save()
            await it.close()
            await it.open()
            await it.close()
