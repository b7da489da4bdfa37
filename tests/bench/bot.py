"""One bot with one library: measures the calls of its session's storage. `bots` runs it in the library's environment.
It reads orders from its standard input, a JSON object a line, and writes an answer a line to its output.

A bot has several sessions, each a *kind*: the library's own storage on a file, or gramd's. It measures them one at a
time, with the same calls.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import logging
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

LIBRARY = os.environ["GRAMD_LIBRARY"]
KNOWN = 10_000  # known peers of a bot
AT_ONCE = 50  # rows of one update_peers, at most
NEW = 0.05  # share of new peers among them
UPDATES = 400  # planned before the measurement, then repeated
ZIPF = list(itertools.accumulate(1 / n for n in range(1, KNOWN + 1)))
ASKED = range(1, 101)  # peers of the measured calls: few enough for any cache


class Family:
    """A storage of the Pyrogram family."""

    def __init__(self, kind: dict[str, Any], name: str) -> None:
        import library

        self.library = library
        if not kind["own"]:
            where = {"socket": kind["place"], "backend": kind.get("backend")}
            self.storage = library.GramdStorage(name, **where, cache=kind["cache"])
        elif kind["place"].startswith("mongodb:"):
            from motor.motor_asyncio import AsyncIOMotorClient
            from pyrogram.storage.mongo_storage import MongoStorage

            self.storage = MongoStorage(name, AsyncIOMotorClient(kind["place"]))
        else:
            self.storage = library.own_storage(name, Path(kind["place"]))

    async def open(self) -> None:
        await self.storage.open()
        await self.storage.user_id(777)
        await self.storage.test_mode(False)

    def peer(self, n: int) -> Any:
        return (n, n * 7, "user", f"49{n}") if self.library.LISTED_NAMES else (n, n * 7, "user", f"name{n}", f"49{n}")

    async def put(self, peers: list[Any]) -> None:
        await self.storage.update_peers(peers)

    async def put_names(self, numbers: range) -> None:
        """Only for libraries that store usernames apart from peers."""
        if self.library.LISTED_NAMES:
            await self.storage.update_usernames([(n, [f"name{n}"]) for n in numbers])
        elif self.library.FLAT_NAMES:
            await self.storage.update_usernames([])

    async def put_state(self, pts: int) -> None:
        if self.library.TUPLE_STATES:
            await self.storage.update_state((0, pts, 1, 1700000000 + pts, 1))
        elif self.library.OBJECT_STATES:
            state = self.library.lib.storage.UpdateState
            await self.storage.set_update_state(state(0, pts, 1, 1700000000 + pts, 1))

    async def look_up(self, n: int) -> None:
        await self.storage.get_peer_by_id(n)

    async def save(self) -> None:
        await self.storage.save()

    async def close(self) -> None:
        await self.storage.close()

    def connection(self) -> Any:
        return self.storage.conn

    def calls(self) -> dict[str, tuple[Any, list[Any]]]:
        storage = self.storage

        async def field(_: int) -> None:
            await storage.user_id()

        async def none(_: int) -> None:
            await storage.update_peers([])

        return {
            "get_peer_by_id": (storage.get_peer_by_id, list(ASKED)),
            "get_peer_by_username": (storage.get_peer_by_username, [f"name{n}" for n in ASKED]),
            "user_id": (field, list(ASKED)),
            "update_peers, a row repeated": (storage.update_peers, [[self.peer(n)] for n in ASKED]),
            "update_peers, empty": (none, list(ASKED)),
        }


class Telethon:
    """A session of Telethon, which is called from synchronous code."""

    def __init__(self, kind: dict[str, Any], name: str) -> None:
        from gramd.telethon import GramdSession
        from telethon.sessions import SQLiteSession

        if kind["own"]:
            self.session = SQLiteSession(f"{kind['place']}/{name}")
        else:
            self.session = GramdSession(name, socket=kind["place"], cache=kind["cache"])

    async def open(self) -> None:
        self.session.save()

    def peer(self, n: int) -> Any:
        from offline_telethon import user

        return user(n, username=f"name{n}", phone=f"49{n}")

    def peers(self, peers: list[Any]) -> Any:
        from telethon.tl import types

        return types.contacts.ResolvedPeer(None, [], peers)

    async def put(self, peers: list[Any]) -> None:
        self.session.process_entities(self.peers(peers))

    async def put_names(self, numbers: range) -> None:
        """Nothing: the username is a part of the peer."""

    async def put_state(self, pts: int) -> None:
        from offline_telethon import state

        self.session.set_update_state(0, state(pts))

    async def look_up(self, n: int) -> None:
        self.session.get_input_entity(n)

    async def save(self) -> None:
        self.session.save()

    async def close(self) -> None:
        self.session.close()

    def connection(self) -> Any:
        return self.session._conn

    def calls(self) -> dict[str, tuple[Any, list[Any]]]:
        session = self.session
        return {
            "get_input_entity, by id": (session.get_input_entity, list(ASKED)),
            "get_input_entity, by name": (session.get_input_entity, [f"name{n}" for n in ASKED]),
            "auth_key": (lambda _: session.auth_key, list(ASKED)),
            "process_entities, one repeated": (session.process_entities, [self.peers([self.peer(n)]) for n in ASKED]),
        }


class Kept:
    """An open session and its measurements."""

    def __init__(self, kind: dict[str, Any], name: str) -> None:
        self.kind = kind
        self.storage = (Telethon if LIBRARY == "telethon" else Family)(kind, name)
        self.random = random.Random(name)
        self.new = itertools.count(KNOWN + 1)
        self.pts = itertools.count(1)
        self.updates: list[tuple[list[Any], list[Any], int]] = []

    async def open(self) -> dict[str, Any]:
        """Opens the session and stores its known peers. Returns the settings of a library's own file."""
        await self.storage.open()
        for first in range(1, KNOWN, 500):
            await self.storage.put([self.storage.peer(n) for n in range(first, first + 500)])
        await self.storage.put_names(range(1, KNOWN + 1))
        await self.storage.save()
        for n in range(KNOWN, 0, -1):
            await self.storage.look_up(n)
        is_file = self.kind["own"] and not self.kind["place"].startswith("mongodb:")
        return await self.settings() if is_file else {}

    async def settings(self) -> dict[str, Any]:
        settings = {}
        for pragma in ("journal_mode", "synchronous"):
            cursor = self.storage.connection().execute(f"PRAGMA {pragma}")
            cursor = await cursor if inspect.isawaitable(cursor) else cursor
            row = cursor.fetchone()
            settings[pragma] = (await row if inspect.isawaitable(row) else row)[0]
        # Whether a write stays uncommitted until `save`: libraries differ, and some differ between calls.
        await self.storage.put([self.storage.peer(next(self.new))])
        settings["save peers"] = self.storage.connection().in_transaction
        await self.write(self.think())
        settings["save updates"] = self.storage.connection().in_transaction
        await self.storage.save()
        return settings

    # ---- single calls ----

    async def call(self, what: str, seconds: float) -> float:
        """Microseconds for one call."""
        call, arguments = self.storage.calls()[what]
        synchronous = not inspect.iscoroutinefunction(call)
        count, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            if synchronous:
                for argument in arguments:
                    call(argument)
            else:
                for argument in arguments:
                    await call(argument)
            count += len(arguments)
        return (now - start) / count * 1e6

    async def put_new(self, rows: int, save: bool, seconds: float) -> float:
        """Microseconds for one update_peers of new peers, including `save` if wanted."""
        spent, count = 0.0, 0
        while spent < seconds:
            peers = [self.storage.peer(n) for n in itertools.islice(self.new, rows)]
            start = time.perf_counter()
            await self.storage.put(peers)
            if save:
                await self.storage.save()
            spent += time.perf_counter() - start
            count += 1
        return spent / count * 1e6

    # ---- the workload of real shape ----

    def think(self) -> tuple[list[Any], list[Any], int]:
        """An update: two lists of peers, where None is a new one, and the peer that is looked up."""
        *known, called = self.random.choices(range(1, KNOWN + 1), cum_weights=ZIPF, k=2 * AT_ONCE + 1)
        peers = [None if self.random.random() < NEW else self.storage.peer(n) for n in known]
        first, second = (self.random.randint(1, AT_ONCE) for _ in range(2))
        return peers[:first], peers[AT_ONCE : AT_ONCE + second], called

    def plan(self) -> None:
        self.updates = [self.think() for _ in range(UPDATES)]

    async def write(self, update: tuple[list[Any], list[Any], int]) -> None:
        make, new = self.storage.peer, self.new
        for peers in update[:2]:
            await self.storage.put([make(next(new)) if peer is None else peer for peer in peers])
        await self.storage.put_state(next(self.pts))

    async def live(self, save: bool, seconds: float) -> float:
        """Updates a second."""
        start = time.perf_counter()
        for count in itertools.count():
            if (now := time.perf_counter()) - start >= seconds:
                return count / (now - start)
            update = self.updates[count % UPDATES]
            await self.write(update)
            if save:
                await self.storage.save()
            await self.storage.look_up(update[2])
        raise AssertionError


async def main(name: str) -> None:
    kept: dict[str, Kept] = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        do, kind = order.pop("do"), order.pop("kind")
        answer: Any = None
        if do == "open":
            kept[kind] = Kept(order, f"{name}-{kind}")
            answer = await kept[kind].open()
        elif do == "calls":
            answer = list(kept[kind].storage.calls())
        elif do == "close":
            await kept.pop(kind).storage.close()
        else:
            answer = getattr(kept[kind], do)(**order)
            answer = await answer if inspect.isawaitable(answer) else answer
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # each process warns that TgCrypto is missing
    asyncio.run(main(sys.argv[1]))
