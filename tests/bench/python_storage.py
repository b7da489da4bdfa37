#!/usr/bin/env python3
"""What a call costs on a library's own storage and on gramd's, with and without the cache, and their ratio.

Each library runs in the environment that the interop tests made ($BUILD/venvs), over a daemon of its own.
Names given run those alone. The own storages run on a file; what they write stays in a transaction, as the
library leaves it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
BUILD = Path(os.environ.get("BUILD", TREE / "build")).resolve()
INTEROP = TREE / "tests" / "interop"
PEERS = 1000
SECONDS = 0.05
ROUNDS = 15


def known_libraries() -> list[str]:
    lines = (INTEROP / "libraries.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


async def measure(call, arguments) -> float:
    """Microseconds for one awaited call, the best of some rounds; the call is told apart by its argument."""
    best = float("inf")
    for _ in range(ROUNDS):
        count, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < SECONDS:
            for argument in arguments:
                await call(argument)
            count += len(arguments)
        best = min(best, (now - start) / count)
    return best * 1e6


def measure_sync(call, arguments) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        count, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < SECONDS:
            for argument in arguments:
                call(argument)
            count += len(arguments)
        best = min(best, (now - start) / count)
    return best * 1e6


async def family(storage) -> dict[str, float]:
    import library

    await storage.open()
    await storage.user_id(777)
    five = not library.LISTED_NAMES
    rows = [
        (n, n, "user", f"name{n}", f"49{n}") if five else (n, n, "user", f"49{n}") for n in range(1, PEERS)
    ]
    await storage.update_peers(rows)
    if hasattr(storage, "update_usernames"):
        await storage.update_usernames([] if five else [(n, [f"name{n}"]) for n in range(1, PEERS)])
    ids = range(1, 101)

    async def user_id(_: int) -> None:
        await storage.user_id()

    async def update(n: int) -> None:
        await storage.update_peers([rows[n]])

    async def update_none(_: int) -> None:
        await storage.update_peers([])

    async def by_name(n: int) -> None:
        await storage.get_peer_by_username(f"name{n}")

    result = {
        "get_peer_by_id": await measure(storage.get_peer_by_id, ids),
        "get_peer_by_username": await measure(by_name, ids),
        "user_id": await measure(user_id, ids),
        "update_peers, repeated": await measure(update, ids),
        "update_peers, empty": await measure(update_none, ids),
    }
    await storage.save()
    await storage.close()
    return result


def telethon(session) -> dict[str, float]:
    from telethon.tl import types

    from offline_telethon import user

    people = [user(n, username=f"name{n}", phone=f"49{n}") for n in range(1, PEERS)]
    session.process_entities(types.contacts.ResolvedPeer(None, [], people))
    ids = range(1, 101)
    sets = [types.contacts.ResolvedPeer(None, [], [people[n]]) for n in ids]
    result = {
        "get_input_entity, by id": measure_sync(session.get_input_entity, ids),
        "get_input_entity, by name": measure_sync(session.get_input_entity, [f"name{n}" for n in ids]),
        "auth_key": measure_sync(lambda _: session.auth_key, ids),
        "process_entities, repeated": measure_sync(session.process_entities, sets),
    }
    session.save()
    session.close()
    return result


def one_library(name: str) -> None:
    from daemon import Daemon

    with tempfile.TemporaryDirectory() as scratch:
        running = Daemon(Path(scratch))
        running.start()
        os.environ["GRAMD_SOCKET"] = running.socket
        try:
            if name == "telethon":
                from gramd.telethon import GramdSession
                from telethon.sessions import SQLiteSession

                own = telethon(SQLiteSession(f"{scratch}/own"))
                cached, plain = (telethon(GramdSession("acc", cache=cache)) for cache in (True, False))
            else:
                import library

                own = asyncio.run(family(library.own_storage("own", Path(scratch))))
                cached, plain = (
                    asyncio.run(family(library.GramdStorage("acc", cache=cache))) for cache in (True, False)
                )
        finally:
            running.stop()
    for call, cost in own.items():
        mine = "   ".join(
            f"{how} {costs[call]:7.2f} µs ({cost / costs[call]:6.2f} times as fast)"
            for how, costs in (("cached", cached), ("uncached", plain))
        )
        print(f"{name:12} {call:27} own {cost:8.2f} µs   {mine}", flush=True)


def main(names: list[str]) -> None:
    if "GRAMD_LIBRARY" in os.environ:
        one_library(os.environ["GRAMD_LIBRARY"])
        return
    for name in names or known_libraries():
        python = BUILD / "venvs" / name / "bin" / "python"
        if not python.exists():
            sys.exit(f"{name}: no environment; run tests/interop/run {name} first")
        variables = {
            **os.environ,
            "BUILD": str(BUILD),
            "GRAMD_LIBRARY": name,
            "PYTHONPATH": f"{TREE / 'client-lib' / 'python'}:{INTEROP}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        subprocess.run(
            [python, "-W", "ignore", __file__], env=variables, check=True, stderr=subprocess.DEVNULL
        )


main(sys.argv[1:])
