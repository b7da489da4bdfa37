"""An ordinary client, measured while others load the daemon: what the benchmarks of that share.

The client reads cached peers and writes new ones, each at a steady rate. A run that other programs disturb is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Optional

import mongo_lab

PEERS = 10_000  # of the client's session; all are cached
READS, WRITES = 500, 100  # a second
WARM = 0.3  # seconds of a run that are not measured
DISTURBED = 0.1  # share of the cores; if other programs took more, the run is repeated
CALM_WAIT = 10  # seconds; for others to be quiet
STUCK = 20  # seconds beyond the length of a run; then the program has no connection or no session
READ_TARGET, WRITE_TARGET = 3, 5  # p99 as a multiple of quiet
CLIENT_PRIORITY = 1  # of SCHED_FIFO
LONGEST_US = 5_000  # of p99, beside largest requests: each may hold the loop so long

Figures = dict[str, float]


class Failed(Exception):
    """A program of the benchmark has failed, or was answered errors."""


# ---- the programs in C ----


def as_user(uid: Optional[int]) -> dict[str, object]:
    """The options with which subprocess starts a program as another user, with no groups but its own."""
    return {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}


class Programs:
    """Those of a folder, run by one user.

    `before` are words before the program's name. With `realtime` they get the processors as soon as they want them.
    """

    def __init__(
        self,
        folder: Path = mongo_lab.BUILD / "bench",
        uid: Optional[int] = None,
        before: Sequence[str] = (),
        realtime: bool = False,
    ) -> None:
        self.folder, self.uid, self.before, self.realtime = folder, uid, before, realtime

    async def start(self, program: str, **options: object) -> asyncio.subprocess.Process:
        named = [f"{name}={value}" for name, value in options.items()]
        words = [*self.before, str(self.folder / program), *named]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, **as_user(self.uid))
        if self.realtime:
            os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(CLIENT_PRIORITY))
        return process

    async def run(self, program: str, **options: object) -> Figures:
        return await figures_of(await self.start(program, **options))


async def figures_of(process: asyncio.subprocess.Process, timeout: Optional[float] = None) -> Figures:
    try:
        out, _ = await asyncio.wait_for(process.communicate(), timeout)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()
        raise Failed("a program has not ended") from None
    if process.returncode != 0:
        raise Failed("a program of the benchmark has failed")
    return json.loads(out)


# ---- the client that is measured ----


class Ordinary:
    def __init__(self, programs: Programs, socket: str, seconds: float) -> None:
        self.programs, self.socket, self.seconds = programs, socket, seconds
        self.next_peer = 10_000_000
        self.session = "own-0"

    async def prepare(self) -> mongo_lab.Client:
        """Stores the peers and reads them into the cache. The session is open until the returned client closes."""
        await self.programs.run("load", socket=self.socket, operation="put", name="own", count=PEERS, rows=100)
        keeper = await mongo_lab.Client.connect(self.socket)
        await keeper.call("open", self.session, {})
        await self.programs.run("load", socket=self.socket, operation="get_id", name="own", count=PEERS, flight=16)
        return keeper

    async def measure(self) -> Figures:
        self.next_peer += 1_000_000
        rest = {"socket": self.socket, "name": "own", "seconds": self.seconds, "warm": WARM}
        ways: dict[str, dict[str, object]] = {
            "read": {"operation": "get_id", "rate": READS, "peers": PEERS},
            "write": {"operation": "put", "rate": WRITES, "first": self.next_peer},
        }
        running = [await self.programs.start("load", **options, **rest) for options in ways.values()]
        ended = [figures_of(process, self.seconds + STUCK) for process in running]
        results = await asyncio.gather(*ended, return_exceptions=True)
        figures: Figures = {}
        for what, result in zip(ways, results):
            if isinstance(result, BaseException):
                raise result
            if result["errors"]:
                raise Failed(f"{what}: {result}")
            figures |= {f"{what} {p}": result[f"{p}_us"] for p in ("p50", "p99")}
        return figures


# ---- sessions that others have open ----


@contextlib.asynccontextmanager
async def held(
    programs: Programs, socket: str, keeper: mongo_lab.Client, sessions: int, connections: int
) -> AsyncIterator[None]:
    """Many connections, each with a session; each asks for something every ten seconds."""
    options = {"operation": "repeat", "name": "held", "sessions": sessions, "connections": connections, "peers": 1}
    holder = await programs.start("load", socket=socket, rate=connections / 10, seconds=3600, **options)
    there = {"sessions": 0, "connections": 0}
    while there["sessions"] <= sessions or there["connections"] <= connections:  # others have some, too
        if holder.returncode is not None:
            raise Failed("the program that holds sessions has ended")
        await asyncio.sleep(0.1)
        there = await keeper.call("stats")
    await asyncio.sleep(1)
    yield
    holder.kill()
    await holder.wait()


# ---- whether other programs disturb ----


def own_ticks() -> int:
    """The processor time so far of this program and of all that it has started."""
    parents, ticks = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            parents[int(pid)] = int(fields[1])
            ticks[int(pid)] = sum(map(int, fields[11:15]))  # with the children that have ended
    own = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(ticks[pid] for pid in own)


def all_ticks() -> int:
    figures = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, *interrupts = map(int, figures)
    return user + nice + system + sum(interrupts)


class Watch:
    """A context manager: the share of the cores that other programs took meanwhile."""

    def __enter__(self) -> Watch:
        self.start = time.monotonic(), all_ticks() - own_ticks()
        return self

    def __exit__(self, *_: object) -> None:
        start, ticks = self.start
        seconds = (all_ticks() - own_ticks() - ticks) / os.sysconf("SC_CLK_TCK")
        self.foreign = max(0.0, seconds / (time.monotonic() - start) / (os.cpu_count() or 1))


async def calm(seconds: float) -> None:
    """Waits until others are quiet, so long at most."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with Watch() as watch:
            await asyncio.sleep(0.3)
        if watch.foreign < DISTURBED:
            return


async def least_disturbed(measure: Callable[[], Awaitable[Figures]], attempts: int) -> Figures:
    best: Figures = {}
    for _ in range(attempts):
        if attempts > 1:
            await calm(CALM_WAIT)
        with Watch() as watch:
            figures = await measure()
        if not best or watch.foreign < best["foreign"]:
            best = {**figures, "foreign": watch.foreign}
        if best["foreign"] < DISTURBED:
            break
    return best


# ---- the report ----


def times_quiet(ratios: Sequence[float], met: bool) -> str:
    """The median of the ratios, the lowest and the highest, and whether the target is missed."""
    verdict = "" if met else " MISSED"
    return f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}){verdict}"
