#!/usr/bin/env python3
"""How soon the next host has a session that a drain hands over.

Needs `make build mongo-servers`. Two daemons on one server. A client that understands `leave` has a session on one of
them, a client of the other waits for it. The first daemon is drained; its client closes when it is told to leave. Prints
the time from that close to the answer of the other's open, over all rounds: median and greatest. SecantusDB or the
server in $GRAMD_TEST_MONGO_URI.

    handover.py [ROUNDS]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

import mongo_lab

HOSTS = ["a", "b"]


async def hand_over(here: mongo_lab.Client, there: mongo_lab.Client, session: int, name: str) -> tuple[float, int]:
    opening = asyncio.ensure_future(there.open(name, 60))
    await asyncio.sleep(0.2)  # it has found the session held, and waits
    await here.call("drain", True)
    await here.told("leave")
    start = time.perf_counter()
    await here.call("close", session)
    session = await opening
    took = time.perf_counter() - start
    await here.call("drain", False)
    return took, session


async def measure(lab: mongo_lab.Lab, rounds: int) -> None:
    clients = []
    for host in HOSTS:
        lab.daemon(host)
        clients.append(await mongo_lab.Client.connect(lab.socket(host)))
        await clients[-1].call("hello", {"client": "bench", "features": ["leave"]})
    here, there = clients
    session = await here.open("passed-on")
    times = []
    for _ in range(rounds):
        took, session = await hand_over(here, there, session, "passed-on")
        times.append(took)
        here, there = there, here
    print(
        f"{rounds} hand-overs: {1000 * statistics.median(times):.0f} ms from the last close to the next host's open"
        f" (median), {1000 * max(times):.0f} ms at most"
    )


def main() -> None:
    mongo_lab.use_python_of_the_lab()
    with mongo_lab.Lab() as lab:
        asyncio.run(measure(lab, int(sys.argv[1]) if len(sys.argv) > 1 else 100))


if __name__ == "__main__":
    main()
