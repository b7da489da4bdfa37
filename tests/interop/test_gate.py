"""A flood wait that one process meets is known to all processes on the session."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import gramd
import pytest
from gramd import ledger
from gramd.flood import asked, flood_seconds

from conftest import LIBRARY
from daemon import Daemon
from readme import examples

LONG = 1000
"""Seconds. The waits are ended by the test, when all processes wait."""


def flood(seconds: int) -> Exception:
    """As the library raises it."""
    if LIBRARY == "telethon":
        from telethon import errors

        return errors.FloodWaitError(request=None, capture=seconds)
    import library

    return library.lib.errors.FloodWait(seconds)


def raising(error: gramd.Error) -> Any:
    async def fail(*_: Any) -> None:
        raise error

    return fail


def of_waits(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of where the waits are kept."""
    return [each.getMessage() for each in caplog.records if each.name == "gramd.ledger"]


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


@pytest.mark.parametrize("failure", [gramd.TimedOut, gramd.Denied])
async def test_a_failed_watch_is_repeated(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, failure: type[gramd.Error]
) -> None:
    monkeypatch.setattr(ledger, "AGAIN", 0.01)
    async with gramd.Client() as client, await client.open("a") as session, gramd.Client() as another:
        gate = gramd.Gate(session)
        with monkeypatch.context() as failing:
            failing.setattr(session, "watch", raising(failure("watch")))
            if failure is gramd.TimedOut:
                await gate.passed("messages.sendMessage")
            else:
                for _ in range(2):  # the set-up is wrong
                    with pytest.raises(failure):
                        await gate.passed("messages.sendMessage")
        other = await another.open("a")
        await gate.note(LONG, "messages.sendMessage")
        while (await other.kv_get(["gate:messages.sendMessage"])) == [None]:  # it may still be out of reach
            await asyncio.sleep(0.005)
        passing = asyncio.ensure_future(gate.passed("messages.sendMessage"))
        await gate.passed("messages.getHistory")
        await gramd.Gate(other).forget("messages.sendMessage")
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


@pytest.mark.parametrize("failure", [gramd.TooLarge, gramd.Corrupt, gramd.Storage])
async def test_a_wait_that_cannot_be_noted_is_kept_by_the_process(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: type[gramd.Error]
) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate = gramd.Gate(session)
        await gramd.Gate(session).note(LONG, "messages.getDialogs")
        monkeypatch.setattr(session, "kv_swap", raising(failure("the area is full, or damaged")))
        with pytest.raises(type(flood(1))):
            async with gate.wait("messages.sendMessage"):
                raise flood(LONG)
        methods = "messages.sendMessage", "messages.getDialogs"  # other waits are read as ever
        passing = [asyncio.ensure_future(gate.passed(each)) for each in methods]
        await gate.passed("messages.getHistory")
        assert not any(each.done() for each in passing) and len(await session.kv_scan("gate:")) == 1
        for each in methods:
            await gate.forget(each)
        await asyncio.gather(*passing)
        assert not of_waits(caplog)


async def test_a_damaged_value_is_no_wait(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate, kv_get = gramd.Gate(session), session.kv_get

        async def damaged(keys: list[str]) -> Any:
            if "gate:messages.sendMessage:7" in keys:
                raise gramd.Corrupt(keys[0])
            return await kv_get(keys)

        monkeypatch.setattr(session, "kv_get", damaged)
        await gate.passed("messages.sendMessage", 7)
        await gramd.Gate(session).note(LONG, "messages.sendMessage")  # it does not hide the wait of all chats
        passing = asyncio.ensure_future(gate.passed("messages.sendMessage", 7))
        for _ in range(5):  # requests, one after the other
            await gate.passed("messages.getHistory")
        assert not passing.done()
        passing.cancel()


def test_flood_errors_are_known() -> None:
    assert flood_seconds(flood(17)) == 17
    assert flood_seconds(ValueError(17)) is None


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

    async def unguarded(
        self, query: Any, retries: int, timeout: float, sleep_threshold: float, *_: Any, **__: Any
    ) -> Any:
        assert sleep_threshold != 0
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


def test_what_is_forwarded_is_asked_for_the_chat_that_gets_it() -> None:
    if LIBRARY == "telethon":
        from telethon.tl.functions.messages import ForwardMessagesRequest as Forward
        from telethon.tl.types import InputPeerChat, InputPeerUser
    else:
        import library

        Forward = library.raw.functions.messages.ForwardMessages
        InputPeerChat, InputPeerUser = library.raw.types.InputPeerChat, library.raw.types.InputPeerUser
    chat, user = InputPeerChat(chat_id=5), InputPeerUser(user_id=6, access_hash=1)
    request = Forward(from_peer=user, id=[1], random_id=[1], to_peer=chat)
    assert asked(request) == ("messages.forwardMessages", -5)


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


@pytest.mark.parametrize("away", ["stopped", "frozen"])
async def test_requests_pass_while_the_daemon_is_away(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, away: str
) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        sender = Sender()
        app, request = client_with(sender)
        gate = gramd.Gate(session)
        gate.guard(app)
        call = app if LIBRARY == "telethon" else app.invoke
        assert await call(request)
        await gate.note(LONG, "messages.getHistory")
        with monkeypatch.context() as impatient:
            impatient.setattr(ledger, "PATIENCE", 0.05)
            (daemon.stop if away == "stopped" else daemon.freeze)()
            for _ in range(3):
                assert await call(request)
        assert sender.calls == 4 and len(of_waits(caplog)) == 1
        passing = [asyncio.ensure_future(gate.passed("messages.getHistory"))]  # the process knows it
        sender.floods = [LONG]
        with pytest.raises(type(flood(1))):
            await call(request)
        passing.append(asyncio.ensure_future(gate.passed("messages.sendMessage")))  # and has met this one
        await gate.passed("messages.getChats")
        assert not any(each.done() for each in passing)
        (daemon.start if away == "stopped" else daemon.thaw)()
        async with gramd.Client() as another, await another.open("a") as other:
            while (await other.kv_get(["gate:messages.sendMessage"])) == [None]:
                await asyncio.sleep(0.005)
            for method in ("messages.getHistory", "messages.sendMessage"):
                await gramd.Gate(other).forget(method)
        await asyncio.gather(*passing)
        assert len(of_waits(caplog)) == 2


@pytest.mark.parametrize("failing", ["every value", "one value"])
async def test_an_area_that_fails_is_not_tried_with_each_request(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate, kv_get = gramd.Gate(session), session.kv_get
        await gate.note(LONG, "messages.getHistory")

        async def fails(keys: list[str]) -> Any:
            if keys and (failing == "every value" or keys[0] == "gate:messages.getHistory"):
                raise gramd.Storage(keys[0])
            return await kv_get(keys)

        monkeypatch.setattr(session, "kv_get", fails)
        waiting = asyncio.ensure_future(gate.passed("messages.getHistory"))
        for _ in range(5):
            await gate.passed("messages.getChats")
            await client.ping()
        assert not waiting.done() and len(of_waits(caplog)) == 1
        monkeypatch.setattr(session, "kv_get", kv_get)
        await gate.use(session)
        await gate.forget("messages.getHistory")
        await waiting


async def test_an_area_that_answers_again_only_for_some_requests(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The area is in reach when values are answered."""
    monkeypatch.setattr(ledger, "AGAIN", 0.001)
    async with gramd.Client() as client, await client.open("a") as session:
        gate, kv_get = gramd.Gate(session), session.kv_get
        await gate.passed("messages.getChats")
        asked: list[str] = []

        async def fails(keys: list[str]) -> Any:
            asked.extend(keys)
            if keys:
                raise gramd.Unavailable("the backend is away")
            return await kv_get(keys)

        monkeypatch.setattr(session, "kv_get", fails)
        for _ in range(50):
            await gate.passed("messages.getChats")
            await asyncio.sleep(0.001)
        assert asked.count("gate:messages.getChats") == 1


async def test_another_session_while_the_former_does_not_answer(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gramd.Client() as client, await client.open("a") as session, await client.open("a") as other:
        gate, failing = gramd.Gate(session), asyncio.Event()
        await gate.passed("messages.getChats")

        async def away(*_: Any) -> None:
            await failing.wait()
            raise gramd.TimedOut("no answer")

        monkeypatch.setattr(session, "watch", away)
        monkeypatch.setattr(session, "kv_get", raising(gramd.TimedOut("no answer")))
        await gate.passed("messages.getChats")
        await gate.use(other)
        failing.set()
        await client.ping()
        await gramd.Gate(other).note(LONG, "messages.sendMessage")
        passing = asyncio.ensure_future(gate.passed("messages.sendMessage"))
        await gramd.Gate(other).passed("messages.getChats")
        await client.ping()
        assert not passing.done()
        passing.cancel()


async def test_an_attempt_that_is_cancelled_is_not_the_last(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some applications cancel all tasks, and begin anew."""
    monkeypatch.setattr(ledger, "AGAIN", 0.01)
    monkeypatch.setattr(ledger, "PATIENCE", 0.05)
    async with gramd.Client() as client, await client.open("a") as session:
        gate, before = gramd.Gate(session), asyncio.all_tasks()
        await gate.passed("messages.sendMessage")
        daemon.freeze()
        await gate.note(LONG, "messages.sendMessage")
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - before:
            task.cancel()
        daemon.thaw()
        while await session.kv_get(["gate:messages.sendMessage"]) == [None]:
            await asyncio.sleep(0.005)


async def test_who_is_cancelled_has_noted_the_wait(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate = gramd.Gate(session)
        await gate.passed("messages.sendMessage")
        noting = asyncio.ensure_future(gate.note(LONG, "messages.sendMessage"))
        await asyncio.sleep(0)
        noting.cancel()
        while await session.kv_get(["gate:messages.sendMessage"]) == [None]:
            await asyncio.sleep(0.005)
        assert noting.cancelled()


@pytest.mark.parametrize("when", ["the area has answered", "the wait is over"])
async def test_a_cancelled_request_does_not_pass(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate, kv_get, loop = gramd.Gate(session), session.kv_get, asyncio.get_running_loop()
        if when == "the wait is over":
            await gate.note(LONG, "messages.sendMessage")
        else:
            await gate.passed("messages.sendMessage")

        async def answered(keys: list[str]) -> Any:
            values = await kv_get(keys)
            if when == "the area has answered":
                loop.call_soon(passing.cancel)
            return values

        monkeypatch.setattr(session, "kv_get", answered)
        passing = asyncio.ensure_future(gate.passed("messages.sendMessage"))
        if when == "the wait is over":
            await gramd.Gate(session).passed("messages.getHistory")
            forgetting = asyncio.ensure_future(gate.forget("messages.sendMessage"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            passing.cancel()
            await forgetting
        await asyncio.wait([passing])
        assert passing.cancelled()


@pytest.mark.parametrize("how", ["closed", "lost", "the client is closed"])
async def test_requests_pass_when_the_session_has_ended(
    daemon: Daemon, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    async with gramd.Client() as client, gramd.Client() as first, await first.open("a") as session:
        gate = gramd.Gate(session)
        await gate.note(LONG, "messages.getHistory")
        if how == "lost":
            session.end(gramd.Busy("another has it"))
        else:
            await (session if how == "closed" else first).close()
        for _ in range(2):
            async with gate.wait("messages.getChats"):
                pass
        await gate.note(LONG, "messages.sendMessage")
        passing = [asyncio.ensure_future(gate.passed(f"messages.{each}")) for each in ("getHistory", "sendMessage")]
        await gate.passed("messages.getChats")
        [line] = of_waits(caplog)
        assert "Gate.use" in line and not any(each.done() for each in passing)
        with pytest.raises(gramd.BadSession if how == "closed" else gramd.Error):
            await gate.use(session)
        again = await client.open("a")
        await gate.use(again)
        assert len(of_waits(caplog)) == 2 and len(await again.kv_scan("gate:")) == 2
        async with gramd.Client() as another, await another.open("a") as other:
            for method in ("messages.getHistory", "messages.sendMessage"):
                await gramd.Gate(other).forget(method)
        await asyncio.gather(*passing)
        assert len(of_waits(caplog)) == 2 and not again.listeners


async def test_a_session_that_is_lost_before_the_first_request(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        gate = gramd.Gate(session)
        session.end(gramd.Fenced("another host owns it"))
        await gate.passed("messages.sendMessage")


async def test_a_wrong_set_up_is_told(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gramd.Client() as client:
        async with await client.open("a") as session:
            gate = gramd.Gate(session)
        with pytest.raises(gramd.BadSession):  # whoever opens a session for the guard alone
            await gate.passed("messages.sendMessage")
        session = await client.open("a")
        for failure in (gramd.Denied, gramd.UnknownMethod):
            gate = gramd.Gate(session)
            with monkeypatch.context() as failing:
                failing.setattr(session, "kv_get", raising(failure("kv_get")))
                with pytest.raises(failure):
                    await gate.passed("messages.sendMessage")
            await gate.passed("messages.sendMessage")
            with monkeypatch.context() as failing:
                failing.setattr(session, "kv_get", raising(failure("kv_get")))
                await gate.passed("messages.sendMessage")  # it was right, so the bot works on
        with monkeypatch.context() as failing:  # it is told later if the daemon was away at first
            failing.setattr(ledger, "AGAIN", 0.01)
            gate, failures = gramd.Gate(session), [gramd.TimedOut("away")]

            async def watch() -> None:
                raise failures.pop() if failures else gramd.Denied("watch")

            failing.setattr(session, "watch", watch)
            with pytest.raises(gramd.Denied):
                while True:
                    await gate.passed("messages.sendMessage")
                    await asyncio.sleep(0)
        gate = gramd.Gate(session)
        await gate.passed("messages.sendMessage")
        with pytest.raises((gramd.TooLarge, gramd.BadRequest)):
            await gate.passed("x" * 300)
        with pytest.raises(gramd.Disconnected):  # of another event loop
            await asyncio.to_thread(lambda: asyncio.run(gate.passed("messages.sendMessage")))


async def test_a_guard_is_taken_off(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        sender = Sender()
        app, request = client_with(sender)
        gate = gramd.Gate(session)
        name = "flood_sleep_threshold" if LIBRARY == "telethon" else "sleep_threshold"
        before = getattr(app, name)
        unguard = gate.guard(app)
        await gate.note(LONG, "messages.sendMessage")
        waiting = asyncio.ensure_future((app if LIBRARY == "telethon" else app.invoke)(request))
        await gate.passed("messages.getHistory")
        assert sender.calls == 0
        unguard()
        sender.invoke = sender.unguarded  # type: ignore[method-assign]
        assert await (app if LIBRARY == "telethon" else app.invoke)(request)
        assert sender.calls == 1 and getattr(app, name) == before and not waiting.done()
        waiting.cancel()


async def test_the_example(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    sessions: asyncio.Queue[Any] = asyncio.Queue()
    used = asyncio.Event()
    opening, use = gramd.Client.open, gramd.Gate.use

    async def opened(*given: Any, **named: Any) -> Any:
        session = await opening(*given, **named)
        sessions.put_nowait(session)
        return session

    async def using(*given: Any) -> None:
        await use(*given)
        used.set()

    monkeypatch.setattr(gramd.Client, "open", opened)
    monkeypatch.setattr(gramd.Gate, "use", using)
    async with gramd.Client() as client, await opening(client, "my_account") as session:
        app, request = client_with(Sender())
        app.send_message = lambda _, text: said.put(text)
        names: dict[str, Any] = {}
        [code] = examples("flood waits")
        exec(code, names)
        running = asyncio.ensure_future(names["main"](app))
        assert await said.get() == "hello"
        (await sessions.get()).end(gramd.Busy("another client has opened it exclusively"))
        await used.wait()
        await gramd.Gate(session).note(LONG, "messages.sendMessage")
        waiting = asyncio.ensure_future(app(request) if LIBRARY == "telethon" else app.invoke(request))
        await gramd.Gate(session).passed("messages.getHistory")
        assert not waiting.done()
        await gramd.Gate(session).forget("messages.sendMessage")
        assert await waiting
        running.cancel()
        await asyncio.wait([running])
