"""A flood wait that one process meets is known to all processes on the session."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import gramd
import pytest
from gramd.flood import asked, flood_seconds

from conftest import LIBRARY
from daemon import Daemon

LONG = 1000
"""Seconds. The waits are ended by the test, when all processes wait."""


def flood(seconds: int) -> Exception:
    """As the library raises it."""
    if LIBRARY == "telethon":
        from telethon import errors

        return errors.FloodWaitError(request=None, capture=seconds)
    import library

    return library.lib.errors.FloodWait(seconds)


async def test_a_wait_is_known_after_a_restart(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        with pytest.raises(type(flood(1))):
            async with gramd.Gate(session).wait("messages.sendMessage"):
                raise flood(1000)
        await session.save()
    daemon.kill()
    daemon.start()
    async with gramd.Client() as client, await client.open("a") as session, gramd.Client() as another:
        gate = gramd.Gate(session)
        passing = asyncio.ensure_future(gate.passed("messages.sendMessage", 7))
        async with gate.wait("messages.getHistory", 7):  # another method
            pass
        assert len(session.listeners) == 1 and not passing.done()
        other = await another.open("a")
        await gramd.Gate(other).note(5, "messages.sendMessage")  # a longer one stays
        [kept] = await other.kv_get(["gate:messages.sendMessage"])
        assert kept is not None and kept.endswith(b" 1000")
        await gramd.Gate(other).forget("messages.sendMessage")  # the one who waits is told
        await passing
        assert not session.listeners


async def test_a_failed_watch_is_repeated(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gramd.Client() as client, await client.open("a") as session, gramd.Client() as another:
        gate, watch = gramd.Gate(session), session.watch

        async def fail() -> None:
            monkeypatch.setattr(session, "watch", watch)
            raise gramd.TimedOut("watch")

        monkeypatch.setattr(session, "watch", fail)
        with pytest.raises(gramd.TimedOut):
            await gate.passed("messages.sendMessage")
        await gate.note(LONG, "messages.sendMessage")
        passing = asyncio.ensure_future(gate.passed("messages.sendMessage"))
        await gate.passed("messages.getHistory")
        await gramd.Gate(await another.open("a")).forget("messages.sendMessage")
        await passing


@pytest.mark.parametrize("value", [b"", b"x", b"1 2 3", b"nan nan", b"inf inf"])
async def test_what_no_gate_has_written_is_no_wait(daemon: Daemon, value: bytes) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate = gramd.Gate(session)
        await session.kv_set([["gate:messages.sendMessage", value]])
        await asyncio.wait_for(gate.passed("messages.sendMessage"), 60)
        await gate.note(LONG, "messages.sendMessage")
        [noted] = await session.kv_get(["gate:messages.sendMessage"])
        assert noted is not None and noted.endswith(b" 1000")


async def test_a_chat_waits_alone(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate = gramd.Gate(session)
        await gate.note(1000, "messages.sendMessage", 7)
        await gate.passed("messages.sendMessage", 8)
        await gate.passed("messages.sendMessage")
        passing = asyncio.ensure_future(gate.passed("messages.sendMessage", 7))
        await gate.passed("messages.sendMessage", 8)
        assert not passing.done()
        passing.cancel()


async def test_a_wait_that_cannot_be_noted_is_slept_through(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    floods = [flood(30)]

    async def invoke(query: Any, sleep_threshold: Any = None) -> str:
        if floods:
            raise floods.pop()
        assert slept == [30]
        return "answer"

    async def fail(*_: Any) -> None:
        raise gramd.TooLarge("the area is full")

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with gramd.Client() as client, await client.open("a") as session:
        app = SimpleNamespace(invoke=invoke, sleep_threshold=60)
        gramd.Gate(session).guard(app)
        monkeypatch.setattr(session, "kv_swap", fail)
        monkeypatch.setattr("gramd.gate.asyncio.sleep", sleep)
        assert await app.invoke("query") == "answer"


def test_flood_errors_are_known() -> None:
    assert flood_seconds(flood(17)) == 17
    assert flood_seconds(ValueError(17)) is None
    assert asked([]) == ("", None)  # Telethon sends that


class Sender:
    """Takes the place of the library's connection: refuses what `floods` says, one after the other."""

    def __init__(self, *floods: int) -> None:
        self.floods = list(floods)
        self.calls = 0

    def send(self, request: Any, ordered: bool = False) -> Any:
        self.calls += 1
        answer = asyncio.get_running_loop().create_future()
        if self.floods:
            answer.set_exception(flood(self.floods.pop(0)))
        else:
            answer.set_result(True)
        return answer

    async def invoke(self, query: Any, retries: int, timeout: float, sleep_threshold: float, *_: Any, **__: Any) -> Any:
        assert sleep_threshold == 0  # or it would sleep, and nobody else would know
        return await self.send(query)


async def nothing(*_: Any) -> bool:
    return False


def client_with(sender: Sender) -> tuple[Any, Any]:
    """A Client whose requests go there, and a request of a message to the channel 5."""
    if LIBRARY == "telethon":
        import telethon
        from telethon.tl.functions.messages import SendMessageRequest
        from telethon.tl.types import InputPeerChannel

        app = telethon.TelegramClient(telethon.sessions.MemorySession(), 1, "0" * 32)
        app._sender = sender
        return app, SendMessageRequest(InputPeerChannel(5, 1), "hello", random_id=1)
    import library

    types, functions = library.raw.types, library.raw.functions
    app = library.client("unused", in_memory=True)
    app.is_connected, app.session, app.fetch_peers = True, sender, nothing
    peer = types.InputPeerChannel(channel_id=5, access_hash=1)
    return app, functions.messages.SendMessage(peer=peer, message="hello", random_id=1)


async def test_each_request_of_a_guarded_client_passes(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        sender = Sender(1, LONG)
        app, request = client_with(sender)
        assert asked(request) == ("messages.sendMessage", -1000000000005)
        gramd.Gate(session).guard(app)
        call = app if LIBRARY == "telethon" else app.invoke
        with pytest.raises(type(flood(LONG))):  # a short wait is waited for, and then comes a long one
            await call(request)
        assert sender.calls == 2
        [noted] = await session.kv_get(["gate:messages.sendMessage"])
        assert noted is not None and noted.endswith(b" 1000")
        waiting = asyncio.ensure_future(call(request))
        async with gramd.Client() as another, await another.open("a") as other:
            gate = gramd.Gate(other)
            await gate.note(LONG, "messages.sendMessage", -1000000000005)
            await gate.forget("messages.sendMessage")
            await gate.passed("messages.sendMessage", 1)
            assert sender.calls == 2 and not waiting.done()
            await gate.forget("messages.sendMessage", -1000000000005)
            if LIBRARY == "telethon":
                app._flood_waited_requests.clear()  # it remembers the long one, too
            assert await waiting
        assert sender.calls == 3


async def test_a_wrapped_invoke_keeps_the_threshold_of_a_call(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        sender = Sender(1)
        _, request = client_with(sender)

        async def invoke(*given: Any, **named: Any) -> Any:
            assert named == {"sleep_threshold": 0}
            return await sender.send(*given)

        app = SimpleNamespace(invoke=invoke, sleep_threshold=10)
        gramd.Gate(session).guard(app)
        with pytest.raises(type(flood(1))):
            await app.invoke(request, sleep_threshold=0)
        assert sender.calls == 1 and await app.invoke(request)
