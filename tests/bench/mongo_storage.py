#!/usr/bin/env python3
"""Pyrofork's own MongoStorage against gramd's on the same server, in one run: eight bots, a process and a session each.

Needs `make build mongo-servers`. The server is SecantusDB, started here, or the one that GRAMD_TEST_MONGO_URI names.
Prints the calls a second of all bots together, and their ratio; then what a warm working set of 10,000 peers costs in a
session on MongoDB and in one in a file.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("BUILD", TREE / "build")).resolve()
VENVS = Path(os.environ.get("VENVS", TREE / "build" / "venvs")).resolve()
BOTS = 8
KNOWN = 1000  # peers that a bot knows already
AT_ONCE = 20  # rows of one update_peers
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
WORKING_SET = 10000


def rows(first: int, count: int) -> list[tuple]:
    return [(n, n * 7, "user", f"name{n}", f"49{n}") for n in range(first, first + count)]


async def own_storage(uri: str, name: str):
    import motor.motor_asyncio
    from pyrogram.storage.mongo_storage import MongoStorage

    return MongoStorage(name, motor.motor_asyncio.AsyncIOMotorClient(uri))


async def gramd_storage(_: str, name: str, backend: str = "mongo"):
    from gramd.pyrogram import GramdStorage

    return GramdStorage(name, backend=backend)


async def look_up(storage, turn: int) -> int:
    await storage.get_peer_by_id(turn * 31 % KNOWN + 1)
    return 1


async def mostly_known(storage, turn: int) -> int:
    """Nineteen peers of twenty repeat what is stored."""
    first = turn * 19 % (KNOWN - 19) + 1
    await storage.update_peers(rows(first, AT_ONCE - 1) + rows(100_000 + turn, 1))
    return 1


async def all_new(storage, turn: int) -> int:
    await storage.update_peers(rows(1_000_000 + turn * AT_ONCE, AT_ONCE))
    return 1


PHASES = {"look-ups": look_up, "peers, 95 % known": mostly_known, "new peers": all_new}


async def bot(make, uri: str, name: str, barrier, results) -> None:
    storage = await make(uri, name)
    await storage.open()
    for first in range(1, KNOWN + 1, 100):
        await storage.update_peers(rows(first, 100))
    for n in range(1, KNOWN + 1):
        await storage.get_peer_by_id(n)
    for phase, call in PHASES.items():
        barrier.wait()
        turn, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < SECONDS:
            await call(storage, turn)
            turn += 1
        results.put((phase, turn / (now - start)))
    await storage.close()


def run_bot(make, uri, name, barrier, results):
    asyncio.run(bot(make, uri, name, barrier, results))


def all_bots(make, uri: str, stem: str) -> dict[str, float]:
    barrier, results = multiprocessing.Barrier(BOTS), multiprocessing.Queue()
    bots = [
        multiprocessing.Process(target=run_bot, args=(make, uri, f"{stem}{n}", barrier, results)) for n in range(BOTS)
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
    """Microseconds for a look-up, once warm."""
    storage = await gramd_storage("", name, backend)
    await storage.open()
    for first in range(1, WORKING_SET + 1, 200):
        await storage.update_peers(rows(first, 200))
    for n in range(1, WORKING_SET + 1):
        await storage.get_peer_by_id(n)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for n in range(1, WORKING_SET + 1):
            await storage.get_peer_by_id(n)
        best = min(best, (time.perf_counter() - start) / WORKING_SET)
    await storage.close()
    return best * 1e6


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


def measure(uri: str) -> None:
    stem = f"bench-{os.getpid()}-"
    own = all_bots(own_storage, uri, f"{stem}own")
    ours = all_bots(gramd_storage, uri, f"{stem}ours")
    for phase, rate in own.items():
        print(f"{phase:20} MongoStorage {rate:9.0f}/s   gramd {ours[phase]:9.0f}/s   {ours[phase] / rate:7.1f} ×")
    for backend in ("mongo", "file"):
        cost = asyncio.run(working_set(f"{stem}set-{backend}", backend))
        print(f"{WORKING_SET} peers, warm, {backend:6} {cost:7.2f} µs a look-up")


def main() -> None:
    python = VENVS / "mongo" / "bin" / "python"
    if Path(sys.executable) != python:
        os.environ["PYTHONPATH"] = str(TREE / "client-lib" / "python")
        os.execv(python, [python, __file__])
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
            os.environ["GRAMD_SOCKET"] = f"{scratch}/socket"
            daemon = [BUILD / "gramd", "--config", "/dev/null", "--socket", f"{scratch}/socket", "--log-level", "error"]
            running.append(subprocess.Popen([*daemon, "--data", f"{scratch}/data", "--mongo", uri]))
            wait_for(f"{scratch}/socket")
            measure(uri)
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
                process.wait()


if __name__ == "__main__":
    main()
