#!/usr/bin/env python3
"""What the death of one host costs the others: it has many sessions on MongoDB, and three others are to have them.

Needs `make build mongo-servers`. Three daemons each write to a session of their own all the time. A fourth opens
SESSIONS sessions; OPENS opens of them wait on the three. Then the fourth is killed; the rest of its sessions is opened
on demand. Prints the latency of the three's own writes in each of these times, how long it takes, and how many opens
failed. SecantusDB or the server in $GRAMD_TEST_MONGO_URI.

    herd.py [SESSIONS [OPENS [OPTION…]]]    options are for all daemons
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

import mongo_lab

HOSTS = ["b", "c", "d"]
TERM = 5.0
CONNECTIONS = 8  # of each host, for the opens
AT_ONCE = 24  # opens on demand, of each host


class Writer:
    """A bot that writes to its own session all the time."""

    def __init__(self, client: mongo_lab.Client, session: int) -> None:
        self.client, self.session, self.number = client, session, 0
        self.latencies: list[float] = []
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        while True:
            self.number += 1
            start = time.perf_counter()
            await self.client.call("update_peers", self.session, [[self.number, self.number, "user", None, None]])
            self.latencies.append(time.perf_counter() - start)
            await asyncio.sleep(0.02)


def report(writers: list[Writer], what: str, quiet: float = 0) -> float:
    latencies = [one for writer in writers for one in writer.latencies]
    for writer in writers:
        writer.latencies = []
    median, high = statistics.median(latencies), statistics.quantiles(latencies, n=20)[-1]
    ratio = f", {median / quiet:.2f} × quiet" if quiet else ""
    print(f"{what:36} own writes {1000 * median:7.1f} ms (95 %: {1000 * high:.1f}){ratio}", flush=True)
    return median


async def measure(lab: mongo_lab.Lab, sessions: int, opens: int, options: list[str]) -> None:
    options = [*options, "--mongo-term", str(TERM), "--max-sessions", str(sessions + 100)]
    victim = lab.daemon("a", *options)
    for host in HOSTS:
        lab.daemon(host, *options)
    names = [f"s{n}" for n in range(sessions)]
    owner = await mongo_lab.Client.connect(lab.socket("a"))
    start = time.perf_counter()
    for first in range(0, sessions, 100):
        await asyncio.gather(*(owner.open(name) for name in names[first : first + 100]))
    print(f"{sessions} sessions created in {time.perf_counter() - start:.1f} s", flush=True)
    writers, clients = [], []
    for host in HOSTS:
        client = await mongo_lab.Client.connect(lab.socket(host))
        writers.append(Writer(client, await client.open(f"own-{host}")))
        clients.append([await mongo_lab.Client.connect(lab.socket(host)) for _ in range(CONNECTIONS)])
    await asyncio.sleep(5)
    for writer in writers:
        writer.latencies = []
    await asyncio.sleep(10)
    quiet = report(writers, "quiet")

    def client_of(n: int) -> mongo_lab.Client:
        return clients[n % len(HOSTS)][n // len(HOSTS) % CONNECTIONS]

    waiting = [asyncio.ensure_future(client_of(n).open(names[n], 600)) for n in range(opens)]
    await asyncio.sleep(5)
    for writer in writers:
        writer.latencies = []
    await asyncio.sleep(10)
    report(writers, f"{opens} opens wait", quiet)
    victim.kill()
    start = time.perf_counter()
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    print(f"first taken after {time.perf_counter() - start:.2f} s ({4 / 3 * TERM:.2f} s after its last renewal at least)")
    for writer in writers:
        writer.latencies = []
    start = time.perf_counter()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    took = time.perf_counter() - start
    failed = [one for one in results if isinstance(one, Exception)]
    print(
        f"all {opens} answered {took:.2f} s later: {len(results) - len(failed)} taken, {len(failed)} failed {failed[:1]}"
    )
    report(writers, "while they are taken", quiet)
    start = time.perf_counter()
    failures = 0

    async def take(share: range) -> int:
        failed = 0
        for n in share:
            try:
                await client_of(n).open(names[n], 600)
            except mongo_lab.Refused as refused:
                print(refused)
                failed += 1
        return failed

    shares = [range(opens + n, sessions, AT_ONCE * len(HOSTS)) for n in range(AT_ONCE * len(HOSTS))]
    failures = sum(await asyncio.gather(*(take(share) for share in shares)))
    print(f"the other {sessions - opens} opened on demand in {time.perf_counter() - start:.1f} s, {failures} failed")
    if sessions > opens:
        report(writers, "meanwhile", quiet)
    for writer in writers:
        writer.task.cancel()


def main() -> None:
    mongo_lab.use_python_of_the_lab()
    sizes = [int(text) for text in sys.argv[1:3]]
    sessions, opens = [*sizes, 1000, 800][:2] if len(sizes) != 1 else (sizes[0], 800)
    with mongo_lab.Lab() as lab:
        lab.uri += "/?retryWrites=false"  # SecantusDB sorts all writes that can be repeated, at each of them
        asyncio.run(measure(lab, sessions, min(opens, sessions), sys.argv[3:]))


if __name__ == "__main__":
    main()
