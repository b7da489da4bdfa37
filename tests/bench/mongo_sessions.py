#!/usr/bin/env python3
"""Creates, opens and closes many sessions on MongoDB, and counts what the server has then.

Needs `make build mongo-servers`. Each session gets 20 peers, a name and an update state, and is closed. Then each is
opened once more, read, and closed. Prints the server's databases, collections and indexes before and after, and the
sessions a second in each half of a pass: the second half is no slower if the server does not suffer from their number.
SecantusDB or the server in $GRAMD_TEST_MONGO_URI.

    mongo_sessions.py [SESSIONS [LAYOUT]]    10000 shared; the other layout is own
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable

import mongo_lab

PEERS = 20
AT_ONCE = 16


def count(uri: str) -> dict[str, int]:
    import pymongo

    client: pymongo.MongoClient = pymongo.MongoClient(uri)
    databases = [name for name in client.list_database_names() if name not in ("admin", "config", "local")]
    collections = [client[name][one] for name in databases for one in client[name].list_collection_names()]
    indexes = sum(len(list(one.list_indexes())) for one in collections)
    return {"databases": len(databases), "collections": len(collections), "indexes": indexes}


def show(when: str, uri: str) -> None:
    print(f"{when:8}", ", ".join(f"{what}: {number}" for what, number in count(uri).items()), flush=True)


async def create(client: mongo_lab.Client, name: str) -> None:
    session = await client.open(name)
    rows = [[n, n * 7, "user", f"name{n}", None] for n in range(1, PEERS + 1)]
    await client.call("update_peers", session, rows)
    await client.call("update_usernames", session, [[1, ["other"]]])
    await client.call("update_states", session, [[1, 2, 3, 4, 5]])
    await client.call("close", session)


async def visit(client: mongo_lab.Client, name: str) -> None:
    session = await client.open(name)
    if (await client.call("get_peer_by_username", session, "other"))[0] != 1:
        raise SystemExit(f"{name}: not what was stored")
    await client.call("close", session)


async def half(what: str, names: list[str], client: mongo_lab.Client, work: Callable[..., Awaitable[None]]) -> None:
    async def share(names: list[str]) -> None:
        for name in names:
            await work(client, name)

    start = time.perf_counter()
    await asyncio.gather(*(share(names[n::AT_ONCE]) for n in range(AT_ONCE)))
    print(f"{what}: {len(names) / (time.perf_counter() - start):.0f} sessions a second", flush=True)


async def measure(lab: mongo_lab.Lab, sessions: int, layout: str) -> None:
    if "GRAMD_TEST_MONGO_URI" not in os.environ:
        lab.uri += "/?retryWrites=false"  # SecantusDB sorts all writes that can be repeated, at each of them
    lab.daemon("a", "--mongo-layout", layout)
    client = await mongo_lab.Client.connect(lab.socket("a"))
    names = [f"s{n}" for n in range(sessions)]
    await create(client, "first")
    show("before", lab.uri)
    for what, work in (("create", create), ("open", visit)):
        await half(f"{what}, first half", names[: sessions // 2], client, work)
        await half(f"{what}, second half", names[sessions // 2 :], client, work)
    show("after", lab.uri)
    client.close()


def main() -> None:
    mongo_lab.use_python_of_the_lab()
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    layout = sys.argv[2] if len(sys.argv) > 2 else "shared"
    with mongo_lab.Lab() as lab:
        asyncio.run(measure(lab, sessions, layout))


if __name__ == "__main__":
    main()
