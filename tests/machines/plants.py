"""Faults that are planted from outside, to prove that the checker finds them: in the network of host 0, in its clock,
or in its clients. gramd itself is as it is."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

import mongo_messages
from proxy import Connection
from store import REGISTERS, SESSIONS

if TYPE_CHECKING:
    from driver import Run
    from host import Host


@dataclass
class Plant:
    name: str
    kinds: tuple[str, ...]
    """What the checker must say, one of these."""
    seconds: float = 12.0
    deaf_s: float = 0.0
    """Clients of host 0 do not listen for so long after an open."""
    sessions: int = SESSIONS
    registers: tuple[str, ...] = REGISTERS

    def prepare(self, host: Host, run: Run) -> None:
        """Before the host starts."""

    async def run(self, host: Host, run: Run) -> None:
        """Disturbs the host. The other hosts are well."""


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
    """One write in ten of host 0 is acknowledged, and never reaches the server."""

    def prepare(self, host: Host, run: Run) -> None:
        def drop(connection: Connection, message: bytes) -> Optional[bytes]:
            command = _updates(message, "peers")
            if command is None or run.dice.random() > 0.1:
                return message
            _acknowledge(connection, message, command)
            return None

        host.proxy.plants.append(drop)


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
        await asyncio.sleep(2 * run.term_s)
        self._on = True


class StripFences(Plant):
    """Writes of host 0 do not compare fences. Now and then one arrives late, after another host has the session."""

    def prepare(self, host: Host, run: Run) -> None:
        self._wanted = False
        self._held = asyncio.Event()

        def strip(connection: Connection, message: bytes) -> Optional[bytes]:
            command = _updates(message, "peers")
            if command is None:
                return message
            for row in command.rows("updates"):
                row["q"] = {key: value for key, value in row["q"].items() if key == "_id"}
            if self._wanted:
                self._wanted = False
                self._held.set()
                connection.open.clear()
                asyncio.get_running_loop().call_later(3.5 * run.term_s, connection.open.set)
            return mongo_messages.build(command, mongo_messages.request_id(message), 0)

        host.proxy.plants.append(strip)

    async def run(self, host: Host, run: Run) -> None:
        while not run.ending:
            self._wanted = True
            self._held.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._held.wait(), 2.0)
                host.freeze()
                await asyncio.sleep(1.8 * run.term_s)
                host.thaw()
                await asyncio.sleep(2 * run.term_s)


class SlowClock(Plant):
    """CLOCK_BOOTTIME of host 0's daemon runs at half its speed, and the network to it breaks now and then."""

    def prepare(self, host: Host, run: Run) -> None:
        host.preload = run.library("slow_clock.c")

    async def run(self, host: Host, run: Run) -> None:
        while not run.ending:
            await asyncio.sleep(4 * run.term_s)
            host.note("cut")
            host.proxy.cut()
            await asyncio.sleep(2.5 * run.term_s)
            host.proxy.heal()
            host.note("heal")


class DeafClients(Plant):
    """Clients of host 0 do not hear that their session has ended."""

    async def run(self, host: Host, run: Run) -> None:
        while not run.ending:
            await asyncio.sleep(run.term_s)
            host.freeze()
            await asyncio.sleep(1.6 * run.term_s)
            host.thaw()


PLANTS = (
    SlowClock("slow clock", ("two leases",)),
    SlowClock("slow clock, requests", ("late success",), seconds=25.0),
    DropRenewals("renewals dropped", ("two leases",)),
    DropWrites("acknowledged writes dropped", ("lost write", "former value")),
    StripFences("fences stripped", ("lost write", "former value"), seconds=25.0, sessions=2, registers=("peer:1",)),
    DeafClients("deaf clients", ("told late",), seconds=20.0, deaf_s=12.0),
)
