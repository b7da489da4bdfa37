#!/usr/bin/env python3
"""Compares Pyrofork's MongoStorage with gramd on the same server, in both layouts. Eight bots run, each a process with a
session.

Needs `make build mongo-servers`. The server is SecantusDB, or the one in $GRAMD_TEST_MONGO_URI. Both storages take
turns in each round. It prints the calls a second of all bots together, and the ratio within a round: median, minimum
and maximum: gramd's own layout to MongoStorage, and gramd's shared layout to its own one. Then it compares look-ups among
10,000 cached peers, in a session on MongoDB and in a file. With --json it prints one object a line.

SecantusDB writes to one collection at a time, and syncs meanwhile: sessions in the shared layout wait for each other's
writes there, which they do not on MongoDB.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("BUILD", TREE / "build")).resolve()
VENVS = Path(os.environ.get("VENVS", TREE / "build" / "venvs")).resolve()
BOTS = 8
KNOWN = 1000  # known peers of a bot
AT_ONCE = 50  # rows of one update_peers, at most
NEW = 0.05  # share of new peers among the rows of a bot that knows most of them
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
WORKING_SET = 10000
LAYOUTS = ("own", "shared")
SHARED_TARGET = 1  # of the shared layout's rate to the own one's


def rows(first: int, count: int) -> list[tuple]:
    return [(n, n * 7, "user", f"name{n}", f"49{n}") for n in range(first, first + count)]


async def own_storage(uri: str, name: str):
    import motor.motor_asyncio
    from pyrogram.storage.mongo_storage import MongoStorage

    return MongoStorage(name, motor.motor_asyncio.AsyncIOMotorClient(uri))


async def gramd_storage(_: str, name: str, backend: str = "mongo"):
    from gramd.pyrogram import GramdStorage

    return GramdStorage(name, backend=backend)


def use_layout(layout: str) -> None:
    """Bots that start from now on, and this process, talk to the daemon with this layout."""
    os.environ["GRAMD_SOCKET"] = f"{os.environ['BENCH_SOCKETS']}/{layout}"


class Bot:
    """The calls of one bot. They are the same on both storages: `number` seeds them."""

    def __init__(self, storage, number: int) -> None:
        self.storage = storage
        self.random = random.Random(number)
        self.next = 1_000_000 * (number + 1)

    def new(self) -> tuple:
        self.next += 1
        return rows(self.next, 1)[0]

    def known(self) -> tuple:
        return rows(self.random.randint(1, KNOWN), 1)[0]

    async def look_up(self) -> None:
        await self.storage.get_peer_by_id(self.random.randint(1, KNOWN))

    async def mostly_known(self) -> None:
        count = self.random.randint(1, AT_ONCE)
        await self.storage.update_peers(
            [self.new() if self.random.random() < NEW else self.known() for _ in range(count)]
        )

    async def all_new(self) -> None:
        await self.storage.update_peers([self.new() for _ in range(self.random.randint(1, AT_ONCE))])


# The calls, and the wanted ratio to MongoStorage.
PHASES = {
    "look-ups": (Bot.look_up, 20),
    "peers, 95 % known": (Bot.mostly_known, 10),
    "new peers": (Bot.all_new, 1),
}


async def bot(make, uri: str, name: str, number: int, barrier, results) -> None:
    storage = await make(uri, name)
    await storage.open()
    for first in range(1, KNOWN + 1, 100):
        await storage.update_peers(rows(first, 100))
    for n in range(1, KNOWN + 1):
        await storage.get_peer_by_id(n)
    does = Bot(storage, number)
    for phase, (call, _) in PHASES.items():
        barrier.wait()
        turns, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < SECONDS:
            await call(does)
            turns += 1
        results.put((phase, turns / (now - start)))
    await storage.close()


def run_bot(*arguments) -> None:
    asyncio.run(bot(*arguments))


def all_bots(make, uri: str, stem: str) -> dict[str, float]:
    barrier, results = multiprocessing.Barrier(BOTS), multiprocessing.Queue()
    bots = [
        multiprocessing.Process(target=run_bot, args=(make, uri, f"{stem}{n}", n, barrier, results))
        for n in range(BOTS)
    ]
    for process in bots:
        process.start()
    sums = dict.fromkeys(PHASES, 0.0)
    for _ in range(BOTS * len(PHASES)):
        phase, rate = results.get()
        sums[phase] += rate
    for process in bots:
        process.join()
    return sums


async def working_set(name: str, backend: str) -> float:
    """Look-ups a second in a session of 10,000 peers, all of them cached."""
    storage = await gramd_storage("", name, backend)
    await storage.open()
    for first in range(1, WORKING_SET + 1, 200):
        await storage.update_peers(rows(first, 200))
    for n in range(1, WORKING_SET + 1):
        await storage.get_peer_by_id(n)
    start = time.perf_counter()
    for n in range(1, WORKING_SET + 1):
        await storage.get_peer_by_id(n)
    rate = WORKING_SET / (time.perf_counter() - start)
    await storage.close()
    return rate


def wait_for(address) -> None:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    while True:
        with socket.socket(family) as probe:
            if probe.connect_ex(address) == 0:
                return
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def report(line: str, theirs: list[float], ours: list[float], target: float, unit: str, of: str = "MongoStorage") -> None:
    ratios = [b / a for a, b in zip(theirs, ours)]
    if "--json" in sys.argv:
        figures = {"theirs": theirs, "ours": ours, "ratio": ratios, "target": target}
        print(json.dumps({"line": line, "of": of, "unit": unit, **figures}))
        return
    print(
        f"{line:22} {statistics.median(theirs):9.0f} → {statistics.median(ours):9.0f} {unit:6}"
        f" {statistics.median(ratios):8.2f} × ({min(ratios):.2f} to {max(ratios):.2f}), wanted {target}",
        flush=True,
    )


def measure(uri: str) -> None:
    stem = f"bench-{os.getpid()}-"
    theirs: list[dict[str, float]] = []
    ours: dict[str, list[dict[str, float]]] = {layout: [] for layout in LAYOUTS}
    for turn in range(ROUNDS):
        theirs.append(all_bots(own_storage, uri, f"{stem}theirs{turn}-"))
        for layout in LAYOUTS if turn % 2 else reversed(LAYOUTS):
            use_layout(layout)
            ours[layout].append(all_bots(gramd_storage, uri, f"{stem}{layout}{turn}-"))
    own, shared = ours["own"], ours["shared"]
    for phase, (_, target) in PHASES.items():
        report(phase, [one[phase] for one in theirs], [one[phase] for one in own], target, "/s")
    for phase in PHASES:
        line = f"{phase}, shared"
        report(line, [one[phase] for one in own], [one[phase] for one in shared], SHARED_TARGET, "/s", "layout own")
    use_layout("own")
    sets: dict[str, list[float]] = {"mongo": [], "file": []}
    for turn in range(ROUNDS):
        for backend, rates in sets.items():
            rates.append(asyncio.run(working_set(f"{stem}set{turn}-{backend}", backend)))
    report("warm, file → MongoDB", sets["file"], sets["mongo"], 0.9, "/s", "file")


def main() -> None:
    python = VENVS / "mongo" / "bin" / "python"
    if Path(sys.executable) != python:
        os.environ["PYTHONPATH"] = str(TREE / "client-lib" / "python")
        os.execv(python, [python, __file__, *sys.argv[1:]])
    logging.disable(logging.WARNING)  # each process warns that TgCrypto is missing
    with tempfile.TemporaryDirectory() as scratch:
        running = []
        uri = os.environ.get("GRAMD_TEST_MONGO_URI")
        try:
            if not uri:
                port = free_port()
                command = [python.parent / "secantusd-py", "--host", "127.0.0.1", "--port", str(port)]
                running.append(subprocess.Popen([*command, "--storage-path", f"{scratch}/db", "--log-level", "ERROR"]))
                wait_for(("127.0.0.1", port))
                uri = f"mongodb://127.0.0.1:{port}"
            os.environ["BENCH_SOCKETS"] = scratch
            for layout in LAYOUTS:
                daemon = [BUILD / "gramd", "--config", "/dev/null", "--log-level", "error"]
                files = ["--socket", f"{scratch}/{layout}", "--data", f"{scratch}/data-{layout}"]
                running.append(subprocess.Popen([*daemon, *files, "--mongo", uri, "--mongo-layout", layout]))
                wait_for(f"{scratch}/{layout}")
            measure(uri)
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
                process.wait()


if __name__ == "__main__":
    main()
