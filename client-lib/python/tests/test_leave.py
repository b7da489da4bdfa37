"""The daemon hands its sessions over to other hosts: it sends `leave`, and the client stops what uses the
key, saves, and closes the session."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fake import SILENT, FakeGramd, Refusal
from library import App, Connection, storage

import gramd
from gramd import family, stop

ROW = (1, 10, "user", "someone", "4912345")
WHY = "the host 'here' hands its sessions over"


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def order(fake: FakeGramd) -> list[str]:
    """What was executed after the `open`."""
    return [method for method in fake.methods() if method != "open"]


@contextlib.contextmanager
def draining(fake: FakeGramd) -> Iterator[None]:
    """Meanwhile the fake refuses each `open`."""
    fake.draining = True
    yield
    fake.draining = False


# ---- a session without a library ----


async def test_the_session_stays_open_until_the_application_closes_it(fake: FakeGramd) -> None:
    reasons: list[str] = []
    async with fake, gramd.Client(fake.path) as client:

        async def stop_and_close(reason: str) -> None:
            reasons.append(reason)
            await session.update_peers([ROW])
            assert (await session.get_peer_by_id(1)).access_hash == 10
            await session.save()
            await session.close()

        session = await client.open("a", cache=True, on_leave=stop_and_close)
        fake.notify("a", "leave", WHY)
        await until(lambda: session.ended is not None)
        assert reasons == [WHY]
        await until(lambda: not fake.connections[0].handles)
        assert order(fake) == ["update_peers", "save", "close"]


async def test_the_client_says_that_it_can_leave(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        await client.ping()
        [told] = [params[0]["features"] for method, params in fake.seen if method == "hello"]
        assert "leave" in told


async def test_on_leave_may_be_an_event(fake: FakeGramd) -> None:
    asked = asyncio.Event()
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", on_leave=asked.set)
        fake.notify("a", "leave", WHY)
        await asked.wait()
        await session.update_peers([ROW])
        await client.ping()
        assert order(fake) == ["update_peers", "ping"] and session.ended is None
        await session.close()


async def test_on_leave_runs_once_at_a_time(fake: FakeGramd) -> None:
    calls: list[str] = []
    go = asyncio.Event()

    async def wait(reason: str) -> None:
        calls.append(reason)
        await go.wait()

    async with fake, gramd.Client(fake.path) as client:
        await client.open("a", on_leave=wait)
        for reason in ("first", "second"):
            fake.notify("a", "leave", reason)
        await client.ping()
        assert calls == ["first"]
        go.set()
        await asyncio.sleep(0.01)
        fake.notify("a", "leave", "third")  # another drain, after one that was ended
        await client.ping()
        assert calls == ["first", "third"]


def fail(_: str) -> None:
    raise RuntimeError("mine")


async def fail_later(_: str) -> None:
    raise RuntimeError("mine")


@pytest.mark.parametrize("on_leave", [None, fail, fail_later])
async def test_a_session_that_cannot_be_left_is_lost_and_closed_when_its_lease_is_over(
    fake: FakeGramd, on_leave: Any
) -> None:
    lost: list[gramd.Error] = []
    fake.lease = 600
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", on_lost=lost.append, on_leave=on_leave)
        await until(lambda: session._lease._until is not None)
        ends, until_then = time.monotonic() + 0.4, len(fake.seen)
        fake.notify("a", "leave", WHY)
        await until(lambda: lost)
        assert lost[0].code == "fenced" and WHY in lost[0].message
        with pytest.raises(gramd.Fenced):
            await session.get_peer_by_id(1)
        await until(lambda: not fake.connections[0].handles)
        assert time.monotonic() >= ends  # it was lent for longer
        assert [method for method, _ in fake.seen[until_then:]] == ["close"]


async def test_a_session_is_given_up_before_its_lease_is_known(fake: FakeGramd) -> None:
    fake.lease = 300
    fake.faults = [("lease", SILENT)]
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a")
        fake.notify("a", "leave", WHY)
        await until(lambda: session.ended is not None)
        [lease] = [request for request in client._requests.values() if request.method == "lease"]
        await client.ping()
        assert fake.connections[0].handles
        client.on_message([1, lease.id, None, 100])
        await until(lambda: not fake.connections[0].handles)


async def test_the_handle_of_a_lost_connection_is_not_closed_on_the_next(fake: FakeGramd) -> None:
    fake.lease = 300
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a")
        await until(lambda: session._lease._until is not None)
        fake.notify("a", "leave", WHY)
        await until(lambda: session.ended is not None)
        fake.connections[0].transport.abort()
        other = await client.open("b")  # has the same number
        await asyncio.sleep(0.4)
        await other.get("dc_id")
        assert "close" not in fake.methods()


async def test_an_open_that_may_wait_is_repeated_during_a_drain(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        with draining(fake):
            with pytest.raises(gramd.Unavailable):
                await client.open("a")
            begin = time.monotonic()
            with pytest.raises(gramd.Unavailable):
                await client.open("a", wait=0.3)
            assert 0.3 <= time.monotonic() - begin < 3
            opening = asyncio.ensure_future(client.open("a", wait=30))
            await asyncio.sleep(0.05)
        session = await opening
        assert await session.get("dc_id") == [2]


def test_the_blocking_client(fake: FakeGramd) -> None:
    asked = threading.Event()
    with fake.elsewhere(), gramd.SyncClient(fake.path) as client:
        session = client.open("a", on_leave=asked.set)
        fake.loop.call_soon_threadsafe(fake.notify, "a", "leave", WHY)
        assert asked.wait(20)
        session.update_peers([ROW])
        session.save()
        session.close()
        assert order(fake) == ["update_peers", "save", "close"]


# ---- a library's storage ----


class Writing(App):
    """Its handlers write until it has stopped."""

    async def terminate(self) -> None:
        await self.storage.update_peers([ROW])
        await super().terminate()

    async def disconnect(self) -> None:
        await self.session.stop()
        await super().disconnect()


async def left(fake: FakeGramd, it: Any) -> None:
    fake.notify("acc", "leave", WHY)
    await asyncio.wait_for(until(lambda: it._session is None), 60)
    await asyncio.sleep(0.01)


async def test_the_client_is_stopped_and_then_the_session_is_closed(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        it = storage(family.Storage, fake, mode="exclusive")
        app, other = Writing(it), App(storage(family.Storage, fake))
        await it.open()
        await left(fake, it)
        assert not app.is_initialized and not app.is_connected and other.is_connected
        assert order(fake) == ["update_peers", "save", "close"]
        session = await client.open("acc", mode="exclusive")  # it is free at once
        assert (await session.get_peer_by_id(1)).access_hash == 10


async def test_a_storage_without_a_client_is_saved_and_closed(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        await left(fake, it)
        assert order(fake) == ["save", "close"]


class Raising(App):
    async def stop(self) -> None:
        raise RuntimeError("mine")


class Hanging(App):
    async def stop(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("kind", [Raising, Hanging])
async def test_a_client_that_does_not_stop_loses_its_connections_first(
    fake: FakeGramd, monkeypatch: pytest.MonkeyPatch, kind: type[App]
) -> None:
    monkeypatch.setattr(stop, "LEAVE_TIMEOUT", 0.2)
    async with fake:
        it = storage(family.Storage, fake)
        app = kind(it)
        await it.open()
        await left(fake, it)
        assert app.session.stopped and order(fake) == ["save", "close"]


async def test_a_save_that_fails_does_not_keep_the_session(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        fake.faults = [("save", Refusal("unavailable"))]
        await left(fake, it)
        assert order(fake) == ["close"]


async def test_a_client_whose_connections_do_not_close_keeps_the_lease(
    fake: FakeGramd, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(Connection):
        async def stop(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(stop, "LEAVE_TIMEOUT", 0.05)
    monkeypatch.setattr(stop, "STOP_TIMEOUT", 0.05)
    reasons: list[gramd.Error] = []
    fake.lease = 1500
    async with fake:
        it = storage(family.Storage, fake, on_lost=reasons.append)
        app = Hanging(it)
        app.session = Stuck()
        await it.open()
        await until(lambda: it._session._lease._until is not None)
        begin = time.monotonic()
        fake.notify("acc", "leave", WHY)
        await until(lambda: reasons)
        assert reasons[0].code == "fenced" and "close" not in order(fake)
        await until(lambda: "close" in order(fake))
        assert time.monotonic() - begin > 0.8


async def test_a_client_that_is_connecting_is_stopped_afterwards(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        app = App(it)
        app.is_initialized = app.is_connected = False
        await it.open()
        fake.notify("acc", "leave", WHY)
        await asyncio.sleep(0.1)
        assert order(fake) == []
        app.is_initialized = app.is_connected = True
        await until(lambda: it._session is None)
        assert not app.is_connected and order(fake) == ["save", "close"]


async def test_a_client_that_never_connects(fake: FakeGramd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "LEAVE_TIMEOUT", 0.1)
    fake.lease = 600
    async with fake:
        it = storage(family.Storage, fake)
        app = App(it)
        app.is_initialized = app.is_connected = False
        await it.open()
        await until(lambda: it._session._lease._until is not None)
        fake.notify("acc", "leave", WHY)
        await until(lambda: it._session.ended is not None)
        with pytest.raises(gramd.Fenced):
            await it.auth_key()
        assert "close" not in order(fake)
        await until(lambda: "close" in order(fake))


async def test_no_client_of_a_storage_is_connected_when_it_closes(fake: FakeGramd) -> None:
    connected: list[bool] = []

    class Slow(App):
        async def stop(self) -> None:
            await asyncio.sleep(0.1)
            await super().stop()

    async with fake:
        it = storage(family.Storage, fake)
        apps = [App(it), Slow(it)]
        await it.open()
        close = it.close

        async def closing() -> None:
            connected.append(all(app.session.stopped for app in apps))
            await close()

        it.close = closing
        await left(fake, it)
        assert connected[0] is True


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_storage_calls_on_leave(fake: FakeGramd, asynchronous: bool) -> None:
    reasons: asyncio.Queue[str] = asyncio.Queue()
    async with fake:
        it = storage(family.Storage, fake, on_leave=reasons.put if asynchronous else reasons.put_nowait)
        app = App(it)
        await it.open()
        fake.notify("acc", "leave", WHY)
        assert await reasons.get() == WHY
        await it.update_peers([ROW])
        assert app.is_connected and order(fake) == ["update_peers"]
        await app.stop()
        assert order(fake) == ["update_peers", "save", "close"]


async def test_a_storage_that_is_being_opened(fake: FakeGramd) -> None:
    class Slow:
        async def open(self, *arguments: Any) -> Any:
            opened = await stored.open(*arguments)
            fake.notify("acc", "leave", WHY)
            await asyncio.sleep(0.05)
            assert order(fake) == []
            return opened

        def __getattr__(self, name: str) -> Any:
            return getattr(stored, name)

    async with fake:
        it = storage(family.Storage, fake)
        stored, it._stored = it._stored, Slow()
        await it.open()
        await until(lambda: it._session is None)
        await until(lambda: order(fake) == ["save", "close"])


async def test_a_storage_opens_again_when_the_drain_is_over(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake, wait=30)
        await it.open()
        with draining(fake):
            await left(fake, it)
            opening = asyncio.ensure_future(it.open())
            await asyncio.sleep(0.05)
            assert not opening.done()
        await opening
        assert await it.dc_id() == 2
        await it.close()
