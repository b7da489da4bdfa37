#!/usr/bin/env python3
"""What an ordinary client notices of the load that others put on the daemon.

`make bench-load` runs it. An ordinary client reads cached peers and writes new ones, at a steady
rate. Others hold thousands of sessions and connections, use sessions on a MongoDB that is dead, open and close
sessions, create and delete them. Prints the client's latency, quiet and under each load, and the ratios within a
round. The loads come in random order in each round. At the end: uncached reads of one session, while others write
and each sync is slow.

    pressure.py [--rounds N] [--seconds S] [--only LOAD…]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Optional

import mongo_lab
from beside import (
    LONGEST_US,
    PEERS,
    READ_TARGET,
    WARM,
    WRITE_TARGET,
    Figures,
    Ordinary,
    Programs,
    figures_of,
    held,
    least_disturbed,
    times_quiet,
)

sys.path.insert(0, str(mongo_lab.TREE / "tests" / "faults"))
os.environ.setdefault("BUILD", str(mongo_lab.BUILD))
import shim

SESSIONS, CONNECTIONS = 2_000, 5_000
CHURNERS = 4
ON_MONGO, OPENING = 16, 4
WRITERS, SYNC_MS = 12, 500
FLIGHT = 4096
STATES, LARGEST = 30_000, 4_000_000  # states of a session; ids of one request
LARGEST_REQUESTS = "one client sends largest requests"

PROGRAMS = Programs()


# ---- MongoDB, and the way to it ----


class Way:
    """Between the daemons and the server: `passes`, `hangs` (nothing is answered) or `refused` (nothing listens)."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = mongo_lab.free_port()
        self.passing = asyncio.Event()
        self.listening: Optional[asyncio.AbstractServer] = None
        self.writers: set[asyncio.StreamWriter] = set()

    async def set(self, how: str) -> None:
        if how == "passes" and not self.passing.is_set():
            self.cut()  # what was sent meanwhile must not arrive late
        if how == "hangs":
            self.passing.clear()
        else:
            self.passing.set()
        if how == "refused" and self.listening:
            self.listening.close()
            self.listening = None
            self.cut()
        if how != "refused" and not self.listening:
            self.listening = await asyncio.start_server(self.accepted, "127.0.0.1", self.port)

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.server_port)
        self.writers |= {writer, back}
        with contextlib.suppress(asyncio.CancelledError):  # at the end of the program
            await asyncio.gather(self.copy(reader, back), self.copy(there, writer))
        self.writers -= {writer, back}

    async def copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                await self.passing.wait()
                writer.write(data)
        writer.close()


class Bots:
    """Clients of sessions on MongoDB. They work while `working` is set, whatever the daemon answers."""

    def __init__(self) -> None:
        self.working = asyncio.Event()
        self.acknowledged = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self, path: str, name: str) -> None:
        for n in range(ON_MONGO):
            client = await mongo_lab.Client.connect(path)
            session = await client.open(f"{name}{n}")
            self.tasks.append(asyncio.create_task(self.write(client, session)))
        for n in range(OPENING):
            client = await mongo_lab.Client.connect(path)
            self.tasks.append(asyncio.create_task(self.open(client, f"{name}-more{n}")))

    async def write(self, client: mongo_lab.Client, session: int) -> None:
        n = 0
        while await self.working.wait():
            n += 1
            with contextlib.suppress(mongo_lab.Refused):
                await client.call("update_peers", session, [[n, n, "user", None, None]])
                self.acknowledged.set()
            await asyncio.sleep(0.02)

    async def open(self, client: mongo_lab.Client, name: str) -> None:
        while await self.working.wait():
            with contextlib.suppress(mongo_lab.Refused):
                await client.call("close", await client.open(name))
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        for task in self.tasks:
            task.cancel()


# ---- one daemon under load ----


class Place:
    """A daemon, the ordinary client's session on it, and the loads."""

    def __init__(self, lab: mongo_lab.Lab, way: Way, fsync: str, args: argparse.Namespace) -> None:
        self.fsync = fsync
        self.attempts = args.attempts
        self.way = way
        self.path = lab.socket(fsync)
        self.ordinary = Ordinary(PROGRAMS, self.path, args.seconds)
        self.done: dict[str, list[float]] = {}  # by load: how often a second it did what it does
        uri = f"mongodb://127.0.0.1:{way.port}/?retryWrites=false"
        lab.daemon(fsync, "--fsync", fsync, "--idle-close", "0", "--mongo", uri)

    async def prepare(self) -> None:
        self.client = await self.ordinary.prepare()
        self.bots = Bots()
        await self.bots.start(self.path, self.fsync)
        for operation in "open", "create":
            await PROGRAMS.run("churn", place=self.path, operation=operation, clients=CHURNERS, seconds=0.5)

    async def settled(self) -> None:
        """Waits until the sessions of the last load are closed."""
        while (await self.client.call("stats"))["sessions"] > 1 + ON_MONGO + OPENING:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.2)

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        yield

    def held(self) -> contextlib.AbstractAsyncContextManager[None]:
        return held(PROGRAMS, self.path, self.client, SESSIONS, CONNECTIONS)

    @contextlib.asynccontextmanager
    async def dead(self, how: str) -> AsyncIterator[None]:
        self.bots.working.set()
        await self.way.set(how)
        await asyncio.sleep(1)
        yield
        await self.way.set("passes")
        self.bots.acknowledged.clear()
        await self.bots.acknowledged.wait()
        self.bots.working.clear()

    @contextlib.asynccontextmanager
    async def churn(self, operation: str) -> AsyncIterator[None]:
        others = await PROGRAMS.start("churn", place=self.path, operation=operation, clients=CHURNERS, seconds=3600)
        await asyncio.sleep(0.2)
        yield
        others.terminate()
        self.done.setdefault(operation, []).append((await figures_of(others))["rate"])

    @contextlib.asynccontextmanager
    async def flood(self) -> AsyncIterator[None]:
        """One client always has many cached reads under way."""
        options = {"socket": self.path, "operation": "get_id", "name": "own", "peers": PEERS}
        flooder = await PROGRAMS.start("load", connections=1, flight=FLIGHT, seconds=3600, **options)
        await asyncio.sleep(0.5)
        yield
        flooder.kill()
        await flooder.wait()

    @contextlib.asynccontextmanager
    async def largest(self) -> AsyncIterator[None]:
        """One client sends the longest request for states again and again."""
        client = await mongo_lab.Client.connect(self.path)
        session = (await client.call("open", "states", {}))["session"]
        await client.call("update_states", session, [[n, n, n, n, n] for n in range(STATES)])
        ids = [n % 128 for n in range(LARGEST)]

        async def ask() -> None:
            while True:
                await client.call("get_states", session, ids)

        asking = asyncio.create_task(ask())
        yield
        asking.cancel()
        client.close()

    @contextlib.asynccontextmanager
    async def all(self) -> AsyncIterator[None]:
        async with self.held(), self.dead("hangs"), self.churn("open"), self.churn("create"):
            yield

    def loads(self) -> dict[str, contextlib.AbstractAsyncContextManager[None]]:
        return {
            "quiet": self.quiet(),
            f"{SESSIONS} sessions, {CONNECTIONS} connections": self.held(),
            "MongoDB hangs": self.dead("hangs"),
            "MongoDB cannot be reached": self.dead("refused"),
            f"{CHURNERS} clients open and close": self.churn("open"),
            f"{CHURNERS} clients create and delete": self.churn("create"),
            "one client floods with reads": self.flood(),
            LARGEST_REQUESTS: self.largest(),
            "all of them": self.all(),
        }

    async def round(self, only: list[str]) -> dict[str, Figures]:
        loads = {
            name: load
            for name, load in self.loads().items()
            if not only or name == "quiet" or any(word in name for word in only)
        }
        results = {}
        for name in random.sample(list(loads), len(loads)):
            async with loads[name]:
                results[name] = await least_disturbed(self.ordinary.measure, self.attempts)
            await self.settled()
        return results


# ---- slow syncs ----


async def measure_slow_syncs(lab: mongo_lab.Lab, args: argparse.Namespace) -> list[dict[str, Figures]]:
    """Uncached reads of one session, while others write and each sync takes SYNC_MS."""
    control = shim.Shim(Path(lab.scratch.name), Path(lab.scratch.name) / "slow")
    here = {"LD_PRELOAD": str(control.preload[0]), **control.environment}
    os.environ.update(here)
    lab.daemon("slow", "--fsync", "always", "--cache", "0")
    for name in here:
        del os.environ[name]
    path = lab.socket("slow")
    await PROGRAMS.run("load", socket=path, operation="put", name="own", count=PEERS, rows=100)
    client = await mongo_lab.Client.connect(path)
    await client.call("open", "own-0", {})
    reads = {"socket": path, "operation": "get_id", "name": "own", "connections": 4, "rate": 200, "peers": PEERS}
    writers = {"socket": path, "operation": "put", "name": "writers", "connections": WRITERS, "sessions": WRITERS}

    async def measure() -> Figures:
        return await PROGRAMS.run("load", **reads, seconds=args.seconds, warm=WARM)

    results = []
    for _ in range(args.rounds):
        quiet = await least_disturbed(measure, args.attempts)
        others = await PROGRAMS.start("load", **writers, seconds=3600, first=time.time_ns() // 1000)
        while (await client.call("stats"))["sessions"] < 1 + WRITERS:
            await asyncio.sleep(0.1)
        rule = control.rule(("sync",), shim.OBJECTS, "delay", SYNC_MS)
        await asyncio.sleep(1)
        beside = await least_disturbed(measure, args.attempts)
        rule.clear()
        others.kill()
        await others.wait()
        results.append({"quiet": quiet, "slow": beside})
    return results


# ---- the report ----


def median(rounds: list[dict[str, Figures]], load: str, figure: str) -> float:
    return statistics.median(one[load][figure] for one in rounds)


def ratio_text(rounds: list[dict[str, Figures]], load: str, figure: str, target: float) -> str:
    if load == "quiet":
        return ""
    ratios = [one[load][figure] / one["quiet"][figure] for one in rounds]
    if load == LARGEST_REQUESTS:
        return times_quiet(ratios, median(rounds, load, figure) <= LONGEST_US)
    return times_quiet(ratios, statistics.median(ratios) <= target)


def report(place: Place, rounds: list[dict[str, Figures]]) -> None:
    print(f"\nfsync = {place.fsync}: µs, and p99 × quiet: targets {READ_TARGET} for reads, {WRITE_TARGET} for writes;")
    print(f"beside largest requests p99 {LONGEST_US} µs")
    head = (
        "  cached read p50    p99                     × quiet     write p50    p99                     × quiet   others"
    )
    print(" " * 36 + head)
    for load in rounds[0]:
        cells = [f"{load:36}"]
        for what, target in ("read", READ_TARGET), ("write", WRITE_TARGET):
            middle, high = median(rounds, load, f"{what} p50"), median(rounds, load, f"{what} p99")
            text = ratio_text(rounds, load, f"{what} p99", target)
            cells.append(
                f"{middle:17.0f} {high:6.0f} {text:>27}" if what == "read" else f"{middle:13.0f} {high:6.0f} {text:>27}"
            )
        print("".join(cells) + f"{100 * median(rounds, load, 'foreign'):8.0f} %")
    for operation, rates in place.done.items():
        print(f"{operation}: {statistics.median(rates):.0f} rounds a second")


def report_slow_syncs(rounds: list[dict[str, Figures]]) -> None:
    high = median(rounds, "slow", "p99_us")
    print(
        f"\n{WRITERS} sessions write, a sync takes {SYNC_MS} ms: uncached read of another session p99"
        f" {median(rounds, 'quiet', 'p99_us'):.0f} → {high:.0f} µs, ×"
        f" {ratio_text(rounds, 'slow', 'p99_us', READ_TARGET)}"
    )


async def measure(lab: mongo_lab.Lab, args: argparse.Namespace) -> None:
    way = Way(lab.port)
    await way.set("passes")
    for fsync in args.fsync:
        place = Place(lab, way, fsync, args)
        await place.prepare()
        rounds = []
        for number in range(args.rounds):
            print(f"{fsync}, round {number + 1} of {args.rounds}", file=sys.stderr)
            one = await place.round(args.only)
            rounds.append({load: one[load] for load in place.loads() if load in one})
        place.bots.stop()
        report(place, rounds)
    if not args.only or "slow" in args.only:
        report_slow_syncs(await measure_slow_syncs(lab, args))


def main() -> None:
    mongo_lab.use_python_of_the_lab()
    parser = argparse.ArgumentParser(description="measure an ordinary client beside loads")
    parser.add_argument("--quick", action="store_true", help="two rounds, and no run is repeated")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3, help="length of a run")
    parser.add_argument("--fsync", nargs="*", default=["always", "everysec"])
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="loads with one of these words")
    args = parser.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 7)
    args.attempts = 1 if args.quick else 5  # of a run that other programs disturb
    tempfile.tempdir = str(mongo_lab.BUILD / "bench")  # on a disk, as sessions are
    with mongo_lab.Lab() as lab:
        asyncio.run(measure(lab, args))


if __name__ == "__main__":
    main()
