"""Fifty processes on a session, and a server that refuses: nobody asks during a wait that is known."""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gramd
import pytest
from gramd import ledger
from telethon import TelegramClient
from telethon.errors import FloodWaitError, MultiError, SlowModeWaitError
from telethon.sessions import MemorySession
from telethon.tl.functions import InvokeWithTakeoutRequest
from telethon.tl.functions.messages import GetHistoryRequest, SendMessageRequest
from telethon.tl.types import InputPeerChannel

from daemon import Daemon

PROCESSES, CALLS, EVERY = 50, 4, 20
"""Each process makes so many calls that succeed. The server refuses one in EVERY."""

LONG = 1000
"""Seconds. The waits are ended by the test, when all processes wait."""


class Server:
    """Refuses some calls, and counts those that were made during a wait that was known: their process has asked
    the ledger after another one had noted the wait in it, and had the answer before the wait was forgotten. Ends
    the waits when every process waits or has ended."""

    def __init__(self, gate: gramd.Gate) -> None:
        self.gate = gate
        self.calls = self.refusals = self.done = self.violations = self.ended = 0
        self.waits: list[list[float]] = []  # noted at, forgotten at
        self.forgotten = -math.inf  # when the last one was: what was noted before may be forgotten, too
        self.waiting: set[asyncio.StreamReader] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            if "noted" in message:
                if message["noted"] > self.forgotten:
                    self.waits.append([message["noted"], math.inf])
            elif "waits" in message:
                self.waiting.add(reader)
                await self.forget_if_all_wait()
            else:
                self.waiting.discard(reader)  # it said so just before the last wait was forgotten
                refused = self.call(message["asked"], message["answered"])
                writer.write(json.dumps(refused).encode() + b"\n")
        self.ended += 1
        self.waiting.discard(reader)
        writer.close()
        await self.forget_if_all_wait()

    def call(self, asked: float, answered: float) -> bool:
        self.calls += 1
        self.violations += any(noted <= asked and answered < forgotten for noted, forgotten in self.waits)
        refused = self.calls % EVERY == 1
        self.refusals += refused
        self.done += not refused
        return refused

    async def forget_if_all_wait(self) -> None:
        if len(self.waiting) + self.ended < PROCESSES:
            return
        self.waiting.clear()
        now, self.forgotten = time.monotonic(), math.inf
        self.waits = [[noted, min(forgotten, now)] for noted, forgotten in self.waits]
        await self.gate.forget("messages.sendMessage", 7)
        self.forgotten = time.monotonic()


async def process(telegram: str) -> None:
    reader, writer = await asyncio.open_unix_connection(telegram)

    def tell(**message: float) -> None:
        writer.write(json.dumps(message).encode() + b"\n")

    async with gramd.Client() as client, await client.open("a") as session:
        gate, asked, answered = gramd.Gate(session), 0.0, 0.0
        kv_get = session.kv_get

        async def seen(keys: Any) -> Any:
            nonlocal asked, answered
            asked = time.monotonic()
            values = await kv_get(keys)
            answered = time.monotonic()
            if len(keys) > 1 and any(values):
                tell(waits=True)
            return values

        session.kv_get = seen  # type: ignore[method-assign]
        left = CALLS
        while left:
            try:
                async with gate.wait("messages.sendMessage", 7):
                    tell(asked=asked, answered=answered)
                    if json.loads(await reader.readline()):
                        raise FloodWaitError(request=None, capture=LONG)
                left -= 1
            except FloodWaitError:
                tell(noted=time.monotonic())
    writer.close()
    await writer.wait_closed()


async def test_nobody_asks_during_a_known_wait(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PATIENCE", 60)  # fifty processes begin at once
    path = str(tmp_path / "telegram")
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=child, args=(path,)) for _ in range(PROCESSES)]
    async with gramd.Client() as client, await client.open("a") as session:
        server = Server(gramd.Gate(session))
        async with await asyncio.start_unix_server(server.serve, path, backlog=PROCESSES):
            for each in children:
                each.start()
            for each in children:
                await asyncio.to_thread(each.join, 100)
    assert [each.exitcode for each in children] == [0] * PROCESSES
    assert server.violations == 0
    assert server.done == PROCESSES * CALLS and server.refusals > PROCESSES * CALLS // EVERY


def child(path: str) -> None:
    asyncio.events._set_running_loop(None)  # the parent's
    asyncio.run(process(path))


def messages(*channels: int) -> list[Any]:
    return [SendMessageRequest(InputPeerChannel(each, 1), "hello", random_id=each) for each in channels]


def history() -> Any:
    return GetHistoryRequest(InputPeerChannel(5, 1), 0, None, 0, 1, 0, 0, 0)


class Sender:
    """Takes the place of the client's connection: its answers to the requests of each list."""

    def __init__(self, *answers: list[Any]) -> None:
        self.answers = list(answers)
        self.sent: list[int] = []  # the lengths of the lists

    def send(self, requests: list[Any], ordered: bool = False) -> Any:
        self.sent.append(len(requests))
        futures = [asyncio.get_running_loop().create_future() for _ in requests]
        for future, answer in zip(futures, self.answers.pop(0)):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        return futures


def client_of(sender: Sender) -> TelegramClient:
    client = TelegramClient(MemorySession(), 1, "0" * 32)
    client._sender = sender
    return client


async def test_each_request_of_a_list_waits(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate, sender = gramd.Gate(session), Sender([True, True, True])
        app = client_of(sender)
        gate.guard(app)
        await gate.note(LONG, "messages.getHistory")
        await gate.note(LONG, "messages.sendMessage", -1000000000006)
        calling = asyncio.ensure_future(app(each for each in [*messages(5, 6), history()]))
        await gate.passed("messages.sendMessage", -1000000000005)
        await gate.forget("messages.getHistory")
        await gate.passed("messages.getHistory", -1000000000005)
        assert not sender.sent and not calling.done()
        await gate.forget("messages.sendMessage", -1000000000006)
        assert await calling == [True, True, True]
        app._sender = Sender([])
        assert await app([]) == []


async def test_each_flood_error_of_a_list_is_noted(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate = gramd.Gate(session)
        requests = [*messages(5, 6), history()]
        floods = [True, SlowModeWaitError(None, 900), FloodWaitError(requests[2], 800)]
        sender = Sender(floods)
        app = client_of(sender)
        gate.guard(app)
        with pytest.raises(MultiError):  # what was done is not done again
            await app(requests)
        with pytest.raises(MultiError):
            async with gate.wait("of a block"):
                raise MultiError([None, *floods[1:]], [True, None, None], requests)
        noted = {key: int(value.split()[1]) for key, value in await session.kv_scan("gate:")}
        assert sender.sent == [3] and noted == {
            "gate:messages.sendMessage:-1000000000006": 900,
            "gate:messages.getHistory": 800,
            "gate:of a block": 900,
        }


async def test_an_error_for_a_request_of_a_list_is_noted_for_that_one(daemon: Daemon) -> None:
    """Telethon raises one before it sends the list if it remembers a wait."""
    async with gramd.Client() as client, await client.open("a") as session:
        gate = gramd.Gate(session)
        app = client_of(Sender())
        gate.guard(app)
        app._flood_waited_requests[GetHistoryRequest.CONSTRUCTOR_ID] = time.time() + LONG
        with pytest.raises(FloodWaitError):
            await app([*messages(5), history()])
        assert [key for key, _ in await session.kv_scan("gate:")] == ["gate:messages.getHistory"]


async def test_a_wait_of_a_request_within_is_none_of_the_request(daemon: Daemon) -> None:
    """To send to a name, Telethon first asks who that is."""

    async def refuse(request: Any) -> None:
        raise FloodWaitError(request, capture=LONG)

    async with gramd.Client() as client, await client.open("a") as session:
        gate = gramd.Gate(session)
        app = client_of(SimpleNamespace(send=lambda request, ordered: refuse(request)))
        gate.guard(app)
        with pytest.raises(FloodWaitError):
            await app(SendMessageRequest("somebody", "hello", random_id=1))
        assert [key for key, _ in await session.kv_scan("gate:")] == ["gate:contacts.resolveUsername"]


async def test_a_wait_of_a_wrapped_request_is_noted(daemon: Daemon) -> None:
    async def refuse(request: Any) -> None:
        raise FloodWaitError(request, capture=LONG)

    async with gramd.Client() as client, await client.open("a") as session:
        gate = gramd.Gate(session)
        app = client_of(SimpleNamespace(send=lambda request, ordered: refuse(request)))
        app._no_updates = True
        gate.guard(app)
        for request in (*messages(5), InvokeWithTakeoutRequest(1, history())):
            with pytest.raises(FloodWaitError):
                await app(request)
        noted = [key for key, _ in await session.kv_scan("gate:")]
        assert noted == ["gate:messages.getHistory", "gate:messages.sendMessage"]


async def test_a_request_waits_for_the_chat_that_its_name_is(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate, sent = gramd.Gate(session), 0

        async def answer(request: Any) -> Any:
            nonlocal sent
            sent += 1
            if sent == 1:
                raise SlowModeWaitError(request, capture=LONG)

        async def entity(_: Any) -> Any:
            return InputPeerChannel(5, 1)

        app = client_of(SimpleNamespace(send=lambda request, ordered: answer(request)))
        app.get_input_entity, app.flood_sleep_threshold = entity, LONG
        gate.guard(app)
        calling = asyncio.ensure_future(app(SendMessageRequest("somebody", "hello", random_id=1)))
        while not await session.kv_scan("gate:"):
            await asyncio.sleep(0.005)
        for _ in range(5):  # requests, one after the other
            await gate.passed("messages.getHistory")
        assert sent == 1 and not calling.done()
        await gate.forget("messages.sendMessage", -1000000000005)
        await calling
