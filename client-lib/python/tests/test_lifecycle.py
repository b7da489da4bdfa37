"""Calls that overlap or are cancelled, event loops, threads, forks, and clients that are dropped without
`close`."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from fake import LATE, SILENT, FakeGramd, Refusal
from library import storage

import gramd
from gramd import family
from gramd.connection import Connection

ROW = (1, 10, "user", "someone", "4912345")
OTHER = (2, 20, "user", None, None)


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def handles(fake: FakeGramd) -> int:
    return sum(len(connection.handles) for connection in fake.connections)


# ---- overlapping calls ----


async def test_two_open_one_storage(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake, mode="exclusive")
        await asyncio.gather(it.open(), it.open())
        assert handles(fake) == 1 and await it.dc_id() == 2
        await it.close()
        await until(lambda: not fake.connections)


async def test_opening_and_closing_take_turns(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake, mode="exclusive")
        await asyncio.gather(it.open(), it.close(), it.open(), it.close(), it.open())
        assert handles(fake) == 1 and await it.dc_id() == 2
        await asyncio.gather(it.close(), it.delete(), it.close())
        assert not fake.sessions
        await until(lambda: not fake.connections)


async def test_closing_does_not_cancel_calls_under_way(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        fake.faults = [("update_peers", LATE)]
        writing = asyncio.ensure_future(it.update_peers([ROW]))
        reading = asyncio.ensure_future(it.get_peer_by_id(5))
        await asyncio.sleep(0)
        await it.close()
        await writing
        with pytest.raises(KeyError):
            await reading
        assert fake.sessions["acc"]["peers"].keys() == {1}
        await until(lambda: not fake.connections)


async def test_a_cancelled_close_closes(fake: FakeGramd) -> None:
    async with fake:
        it = storage(family.Storage, fake)
        await it.open()
        closing = asyncio.ensure_future(it.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await until(lambda: not fake.connections)


async def test_a_cancelled_open_leaves_no_handle(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        it = storage(family.Storage, fake, mode="exclusive")
        fake.faults = [("get", SILENT)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(it.open(), 0.05)
        await until(lambda: handles(fake) == 0)
        fake.faults = [("get", Refusal("denied"))]
        with pytest.raises(gramd.Denied):
            await client.open("acc", cache=True)
        await until(lambda: handles(fake) == 0)
        assert not client._sessions and not client._handles
        await it.open()
        await it.close()


async def test_a_close_that_is_cancelled_before_it_was_sent_closes(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        await client.hello()
        session = await client.open("a")
        fake.faults = [("get_peers", LATE)] * 3
        reading = [asyncio.ensure_future(session.get_peers([1])) for _ in range(10)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(session.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(*reading)
        await until(lambda: handles(fake) == 0)


# ---- cancelled calls ----


async def test_a_late_answer_is_not_taken_for_another(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        fake.faults = [("ping", LATE)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.ping("first"), 0.02)
        assert await asyncio.gather(*(client.ping(n) for n in range(9))) == list(range(9))
        assert not client._requests and len([each for each in fake.seen if each[0] == "hello"]) == 1


async def test_a_cancelled_write_is_cached(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", cache=True)
        writing = asyncio.ensure_future(session.update_peers([ROW]))
        await asyncio.sleep(0)
        writing.cancel()
        await client.ping()
        before = len(fake.seen)
        assert (await session.get_peer_by_id(1)).access_hash == 10
        assert len(fake.seen) == before and not client._requests


async def test_a_call_cancelled_before_the_connection_is_not_sent(fake: FakeGramd) -> None:
    async with gramd.Client(fake.path) as client:
        for work in (client.ping("cancelled"), client.open("cancelled")):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(work, 0.01)
        async with fake:
            assert await client.ping("asked") == "asked"
        assert not client._requests and not fake.sessions
        assert ("ping", ["cancelled"]) not in fake.seen


async def test_a_request_that_timed_out_unsent_is_dropped(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client:
        await client.hello()
        session = await client.open("a")
        await session.get("dc_id")
        session.timeout = 0.05
        fake.faults = [("get_states", SILENT)] * 4
        for error in await asyncio.gather(*(session.get_states() for _ in range(50)), return_exceptions=True):
            assert isinstance(error, gramd.TimedOut)
        assert len(client._requests) == 4 and not session.unsent  # those four were sent
        session.timeout = 30
        fake.connections[0].transport.abort()
        assert await session.get_states() == [] and not client._requests


async def test_a_cancelled_deletion_is_not_a_loss(fake: FakeGramd) -> None:
    lost: list[gramd.Error] = []
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("a", on_lost=lost.append)
        deleting = asyncio.ensure_future(session.delete())
        await asyncio.sleep(0)
        deleting.cancel()
        await until(lambda: session.ended is not None)
        assert not lost and not fake.sessions


# ---- event loops and threads ----


def test_an_open_storage_opens_again_in_the_next_event_loop(fake: FakeGramd) -> None:
    both = [storage(family.Storage, fake, mode="exclusive") for _ in range(2)]
    both[1]._stored.name = "beside"

    async def once() -> None:
        await asyncio.gather(*(it.open() for it in both))
        await both[0].update_peers([ROW])
        assert (await both[0].get_peer_by_id(1)).access_hash == 10

    with fake.elsewhere(), pytest.warns(ResourceWarning, match="unclosed"):
        for _ in range(2):
            asyncio.run(once())
        assert len(fake.connections) == 1
        for it in both:
            asyncio.run(it.close())
        del it
        both.clear()
        gc.collect()


def test_a_client_of_a_closed_event_loop(fake: FakeGramd) -> None:
    async def make() -> gramd.Session:
        return await gramd.Client(fake.path).open("a")

    async def use(session: gramd.Session) -> None:
        with pytest.raises(gramd.Disconnected, match="event loop"):
            await session.get_peer_by_id(1)
        await session.close()
        with pytest.raises(gramd.BadSession):
            await session.get_peer_by_id(1)
        await session.client.close()
        with pytest.raises(gramd.Disconnected):
            await session.client.ping()

    with fake.elsewhere(), pytest.warns(ResourceWarning, match="unclosed"):
        asyncio.run(use(asyncio.run(make())))
        gc.collect()


def test_each_thread_has_its_own_connection(fake: FakeGramd) -> None:
    both = threading.Barrier(2, timeout=60)
    failures: list[BaseException] = []

    async def bot(number: int) -> None:
        it = storage(family.Storage, fake)
        await it.open()
        both.wait()
        assert len(fake.connections) == 2
        for n in range(200):
            await it.update_peers([(number, n, "user", None, None)])
            assert (await it.get_peer_by_id(number)).access_hash == n
        both.wait()
        await it.close()

    def run(number: int) -> None:
        try:
            asyncio.run(bot(number))
        except BaseException as error:
            failures.append(error)
            both.abort()

    with fake.elsewhere():
        threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_a_storage_moves_to_another_thread(fake: FakeGramd) -> None:
    it = storage(family.Storage, fake, mode="exclusive")
    here = asyncio.new_event_loop()
    thread = threading.Thread(target=here.run_forever)

    async def there() -> None:
        await it.open()
        assert handles(fake) == 1 and await it.dc_id() == 2
        await it.close()

    with fake.elsewhere():
        thread.start()
        asyncio.run_coroutine_threadsafe(it.open(), here).result(20)
        asyncio.run(there())
        here.call_soon_threadsafe(here.stop)
        thread.join()
        here.close()


async def test_a_connection_without_a_socket() -> None:
    """uvloop closes the socket when its event loop has ended."""

    class Transport(asyncio.Transport):
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    class Owner:
        def on_message(self, message: list[Any]) -> None: ...
        def on_connection_lost(self, connection: Connection) -> None: ...

    owner, transport = Owner(), Transport()
    connection = Connection(owner)
    connection.connection_made(transport)
    await asyncio.get_running_loop().run_in_executor(None, connection.drop)
    await until(lambda: transport.aborted)
    connection.leave_to_parent()


# ---- processes: scripts that report on their standard error ----

HEAD = """
import asyncio, gc, os, sys
import gramd
from gramd import family
from fake import FakeGramd
from library import storage
fake = FakeGramd(sys.argv[1])

def descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
"""


def script(fake: FakeGramd, text: str) -> None:
    path = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", HEAD + textwrap.dedent(text), fake.path],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_child_has_a_connection_of_its_own(fake: FakeGramd) -> None:
    fake.lease = 15000
    with fake.elsewhere():
        script(
            fake,
            """
            it = storage(family.Storage, fake)
            async def read():
                await it.open()
                return (await it.get_peer_by_id(1)).access_hash

            async def child(session):
                try:
                    await session.get("dc_id")
                except gramd.Disconnected:
                    pass
                else:
                    raise AssertionError("the parent's connection is used")
                await it.open()
                await it.update_peers([(1, 11, "user", None, None)])
                await it.close()

            async def main():
                await it.open()
                await it.update_peers([(1, 10, "user", None, None)])
                session = await gramd.Client(fake.path).open("acc")
                lease = session._lease
                while lease._until is None:
                    await asyncio.sleep(0)
                pid = os.fork()
                if pid == 0:
                    asyncio.run(child(session))
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
                await session.get("dc_id")
                assert await read() == 11, "the child's write was not told"
                rung = asyncio.Event()
                session.timers.call_at(0, rung.set)
                await rung.wait()
                await it.close()
                await session.client.close()

            asyncio.run(main())
            """,
        )
        hellos = [params for method, params in fake.seen if method == "hello"]
        assert len(hellos) == 3  # the storage's, the client's, the child's


def test_a_child_does_not_keep_its_parents_sessions_open(fake: FakeGramd) -> None:
    fake.lease = 15000
    with fake.elsewhere():
        script(
            fake,
            """
            it = storage(family.Storage, fake, mode="exclusive")
            reading, writing = os.pipe()

            async def main():
                await it.open()
                pid = os.fork()
                if pid == 0:
                    os.close(writing)
                    os.read(reading, 1)  # until the parent has closed it
                    os._exit(0)
                await it.close()
                async with gramd.Client(fake.path) as client:
                    while len(await client.clients()) > 1:
                        await asyncio.sleep(0.001)
                os.close(writing)
                assert os.waitpid(pid, 0)[1] == 0

            asyncio.run(main())
            """,
        )


def test_the_blocking_client_in_a_forked_child(fake: FakeGramd) -> None:
    with fake.elsewhere():
        script(
            fake,
            """
            client = gramd.SyncClient(fake.path)
            client.ping()
            pid = os.fork()
            if pid == 0:
                try:
                    client.ping()
                except gramd.Disconnected:
                    with gramd.SyncClient(fake.path) as own:
                        os._exit(0 if own.ping(7) == 7 else 1)
                os._exit(2)
            assert os.waitpid(pid, 0)[1] == 0
            assert client.ping(8) == 8
            client.close()
            """,
        )


def test_dropped_clients_are_freed(fake: FakeGramd) -> None:
    fake.lease = 15000
    with fake.elsewhere():
        script(
            fake,
            """
            async def main():
                before = descriptors()
                for _ in range(10):
                    client = gramd.Client(fake.path)
                    session = await client.open("a", cache=True)
                    await session.get_peers([1])
                    while client.timers._descriptor is None:
                        await asyncio.sleep(0)
                    it = storage(family.Storage, fake)
                    await it.open()
                del client, session, it
                descriptors()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert descriptors() == before, "descriptors are left"

            asyncio.run(main())
            """,
        )
        while fake.connections:
            pass


def test_an_event_loop_that_ends_around_a_client(fake: FakeGramd) -> None:
    fake.lease = 15000
    with fake.elsewhere():
        script(
            fake,
            """
            before = descriptors()

            async def main():
                client = gramd.Client(fake.path)
                session = await client.open("a", cache=True)
                it = storage(family.Storage, fake)
                await it.open()

            asyncio.run(main())
            assert descriptors() == before, "descriptors are left"

            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.close()
            del loop
            assert descriptors() == before, "descriptors are left"
            """,
        )


def test_clients_dropped_without_a_daemon_are_freed(fake: FakeGramd) -> None:
    script(
        fake,
        """
        import logging
        logging.disable(logging.WARNING)
        async def main():
            async with FakeGramd(sys.argv[1]) as own:
                client = gramd.Client(fake.path)
                session = await client.open("a")
            while client._retry is None:  # until an attempt to reconnect has failed
                await asyncio.sleep(0)

        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.close()
        gc.collect()
        """,
    )
