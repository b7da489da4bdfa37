#!/usr/bin/env python3
"""What an outage of MongoDB costs the sessions in files, and how soon the sessions on MongoDB work again.

Needs `make build mongo-servers`. One daemon with sessions of both kinds, all in use. The server is away for SECONDS
(default: 60), once killed and started again, once stopped by SIGSTOP: it accepts connections and answers nothing.
Prints the latency of reads and writes in files, quiet and meanwhile, their ratio, and the time from the server's
return to the first write that is acknowledged. Needs a server that it can end: SecantusDB.

    outage.py [SECONDS]
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import statistics
import sys
import time

import mongo_lab

FILES = 4
ON_MONGO = 16


class Traffic:
    """Bots with sessions in files, and bots with sessions on MongoDB."""

    async def start(self, path: str) -> None:
        self.latencies: list[float] = []
        self.acknowledged = asyncio.Event()
        self.tasks = []
        for n in range(FILES):
            client = await mongo_lab.Client.connect(path)
            session = (await client.call("open", f"file{n}", {"backend": "file"}))["session"]
            self.tasks.append(asyncio.create_task(self.use_file(client, session)))
        for n in range(ON_MONGO):
            client = await mongo_lab.Client.connect(path)
            self.tasks.append(asyncio.create_task(self.use_mongo(client, await client.open(f"mongo{n}"))))

    async def use_file(self, client: mongo_lab.Client, session: int) -> None:
        for n in itertools.count(1):
            start = time.perf_counter()
            await client.call("update_peers", session, [[n, n, "user", None, None]])
            await client.call("get_peer_by_id", session, n)
            self.latencies.append(time.perf_counter() - start)
            await asyncio.sleep(0.005)

    async def use_mongo(self, client: mongo_lab.Client, session: int) -> None:
        for n in itertools.count(1):
            try:
                await client.call("update_peers", session, [[n, n, "user", None, None]])
                self.acknowledged.set()
            except mongo_lab.Refused as refused:
                assert refused.code == "unavailable", refused
            await asyncio.sleep(0.02)

    async def median(self, seconds: float) -> float:
        self.latencies = []
        await asyncio.sleep(seconds)
        return statistics.median(self.latencies)


async def measure(lab: mongo_lab.Lab, seconds: float) -> None:
    server = lab.running[0]
    lab.daemon("a")
    traffic = Traffic()
    await traffic.start(lab.socket("a"))
    await traffic.median(3)
    for how in "killed", "frozen":
        quiet = await traffic.median(seconds / 3)
        if how == "killed":
            server.kill()
            server.wait()
        else:
            server.send_signal(signal.SIGSTOP)
        away = await traffic.median(seconds)
        traffic.acknowledged.clear()
        if how == "killed":
            server = lab.restart_server()
        else:
            server.send_signal(signal.SIGCONT)
        start = time.perf_counter()
        await traffic.acknowledged.wait()
        healed = time.perf_counter() - start
        print(
            f"{how} for {seconds:.0f} s: files {1e6 * quiet:.0f} → {1e6 * away:.0f} µs, {away / quiet:.2f} × quiet;"
            f" the first write {healed:.2f} s after the return",
            flush=True,
        )
        await traffic.median(3)
    for task in traffic.tasks:
        task.cancel()


def main() -> None:
    mongo_lab.use_python_of_the_lab()
    with mongo_lab.Lab() as lab:
        asyncio.run(measure(lab, float(sys.argv[1]) if len(sys.argv) > 1 else 60))


if __name__ == "__main__":
    main()
