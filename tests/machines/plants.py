"""Faults that are planted from outside, to prove that the checker finds them: in the network of host 0, in its clock,
or in its clients. gramd itself is as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

import mongo_messages
from proxy import Connection

if TYPE_CHECKING:
    from driver import Run
    from host import Host


SESSION = "machines0"
WAIT_S = 30.0


@dataclass
class Plant:
    """The plants leave nothing to chance: no other clients run, and nothing else is disturbed."""

    name: str
    kinds: tuple[str, ...]
    """What the checker must say, each of these."""

    def prepare(self, host: Host, run: Run) -> None:
        """Before host 0 starts."""

    async def run(self, host: Host, run: Run) -> None:
        """What the clients do."""


def _updates(message: bytes, collection: str) -> Optional[mongo_messages.Command]:
    if collection.encode() not in message:
        return None
    command = mongo_messages.parse(message)
    if command is None or command.name != "update" or command.body["update"] != collection:
        return None
    return command


def _acknowledge(connection: Connection, message: bytes, command: mongo_messages.Command) -> None:
    n = len(command.rows("updates"))
    answer = mongo_messages.Command({"n": n, "nModified": n, "ok": 1.0}, {})
    connection.to_client.write(mongo_messages.build(answer, 0, mongo_messages.request_id(message)))


class DropWrites(Plant):
    """A write of host 0 is acknowledged, and never reaches the server."""

    def prepare(self, host: Host, run: Run) -> None:
        def drop(connection: Connection, message: bytes) -> Optional[bytes]:
            command = _updates(message, "peers")
            if command is None:
                return message
            _acknowledge(connection, message, command)
            return None

        host.proxy.plants.append(drop)

    async def run(self, host: Host, run: Run) -> None:
        one, two = run.wire_client(0), run.wire_client(1)
        hold = await one.open(SESSION, 0)
        await one.write(hold, "peer:1", 1)  # an insert: it passes
        await one.write(hold, "peer:1", 2)
        await one.close(hold)
        hold = await two.open(SESSION, WAIT_S)
        await two.read(hold, "peer:1")
        await two.close(hold)


async def _both_want_it(run: Run, begin: Callable[[], None]) -> None:
    """A client of host 0 has the session and goes on; a client of host 1 waits for it. `begin` is called meanwhile."""
    one, two = run.wire_client(0), run.wire_client(1)
    hold = await one.open(SESSION, 0)
    waiting = asyncio.ensure_future(two.open(SESSION, WAIT_S))
    await one.go_on(hold, run.term_s)
    begin()
    going = asyncio.ensure_future(one.go_on(hold, 3 * run.term_s))
    other = await waiting
    await two.go_on(other, run.term_s)
    await going
    await two.close(other)


class DropRenewals(Plant):
    """The server's answers to renewals of host 0 are made up: it believes in its terms, and others see none."""

    def prepare(self, host: Host, run: Run) -> None:
        self._on = False

        def drop(connection: Connection, message: bytes) -> Optional[bytes]:
            command = _updates(message, "instances") if self._on else None
            if command is None or "counter" not in command.rows("updates")[0]["u"].get("$set", {}):
                return message
            _acknowledge(connection, message, command)
            return None

        host.proxy.plants.append(drop)

    async def run(self, host: Host, run: Run) -> None:
        def begin() -> None:
            self._on = True

        await _both_want_it(run, begin)


class SlowClock(Plant):
    """CLOCK_BOOTTIME of host 0's daemon runs at half its speed, and the network to it breaks."""

    def prepare(self, host: Host, run: Run) -> None:
        host.preload = run.library("slow_clock.c")

    async def run(self, host: Host, run: Run) -> None:
        await _both_want_it(run, host.proxy.cut)


class StripFences(Plant):
    """Writes of host 0 do not compare fences, and one arrives late, after another host has the session."""

    def prepare(self, host: Host, run: Run) -> None:
        self._held: Optional[Connection] = None
        self._on = False

        def strip(connection: Connection, message: bytes) -> Optional[bytes]:
            command = _updates(message, "peers")
            if command is None:
                return message
            for row in command.rows("updates"):
                row["q"] = {key: value for key, value in row["q"].items() if key == "_id"}
            if self._on:
                self._held = connection
                connection.open.clear()
            return mongo_messages.build(command, mongo_messages.request_id(message), 0)

        host.proxy.plants.append(strip)

    async def run(self, host: Host, run: Run) -> None:
        one, two, three = (run.wire_client(number) for number in range(3))
        hold = await one.open(SESSION, 0)
        await one.write(hold, "peer:1", 1)
        self._on = True
        writing = asyncio.ensure_future(one.write(hold, "peer:1", 2))
        while self._held is None:
            await asyncio.sleep(0.01)
        host.freeze()
        hold = await two.open(SESSION, WAIT_S)
        await two.write(hold, "peer:1", 3)
        self._held.open.set()
        await asyncio.sleep(0.5)
        await two.close(hold)
        hold = await three.open(SESSION, WAIT_S)
        await three.read(hold, "peer:1")
        await three.close(hold)
        host.thaw()
        await writing


class DeafClient(Plant):
    """A client of host 0 does not hear that its session has ended."""

    async def run(self, host: Host, run: Run) -> None:
        one, two = run.wire_client(0, deaf=True), run.wire_client(1)
        hold = await one.open(SESSION, 0)
        host.freeze()
        other = await two.open(SESSION, WAIT_S)
        host.thaw()
        await asyncio.sleep(run.term_s + 2 * run.slack + 1)  # longer than the checker's bound
        one.drop(hold)
        await two.close(other)


PLANTS = (
    SlowClock("slow clock", ("two leases", "late success")),
    DropRenewals("renewals dropped", ("two leases",)),
    DropWrites("acknowledged write dropped", ("lost write",)),
    StripFences("fences stripped", ("former value",)),
    DeafClient("deaf client", ("told late",)),
)
