#!/usr/bin/env python3
"""What an ordinary client notices when another user attacks the daemon.

`make bench-attacks` runs it, as root: the daemon, the attacker and the client have three uids, by setresuid(). For each
attack there is a daemon of its own. It is measured quiet and then attacked, in one run: the client's cached reads and
its writes, whether it can connect, and the daemon's resident memory at most.

    attacks.py [--rounds N] [--seconds S] [--fair] [--markdown] [--only WORD…]
"""

from __future__ import annotations

import argparse
import array
import asyncio
import contextlib
import fcntl
import math
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import attacker
import mongo_lab
from beside import (
    CLIENT_PRIORITY,
    LONGEST_US,
    PEERS,
    READ_TARGET,
    WRITE_TARGET,
    Failed,
    Figures,
    Ordinary,
    Programs,
    as_user,
    held,
    least_disturbed,
    times_quiet,
)

DAEMON, VICTIM, ATTACKER, HOLDER = range(54_320, 54_324)  # uids that nobody has
PROCESSES = 4  # of an attack
HELD = 5_000  # sessions that the holder has open
PIPE = 60_000  # bytes; almost a full pipe
MEMORY_TARGET, MEMORY_TARGET_HELD = 256, 512  # MiB

FORK = multiprocessing.get_context("fork")


@dataclass
class Attack:
    name: str
    function: Optional[Callable[[attacker.Attacker], None]] = None  # or a program in C:
    program: str = ""
    options: tuple[tuple[str, object], ...] = ()
    config: str = ""  # of the daemon
    log_is_held: bool = False  # the daemon's standard error is a pipe that nobody reads
    held: int = 0  # sessions that another user has open
    is_longest: bool = False  # another target, LONGEST_US
    opens: bool = False  # the attacker opens more sessions than HELD


READS = (("operation", "get_id"), ("name", "flood"), ("peers", PEERS))
MANY = (*READS, ("connections", 100), ("flight", 16))
DEEP = (*READS, ("connections", 4), ("flight", 4096))
EVERYBODY = "[access]\neveryone = read,write,admin\n"

ATTACKS = [
    Attack("none: processors busy", attacker.compute),
    Attack("all connections", attacker.all_connections),
    Attack("300 unfinished messages", attacker.unfinished),
    Attack("300 messages that drip", attacker.drip),
    Attack("4000 get_states in a write", attacker.states),
    Attack("flood of cached reads", program="load", options=MANY),
    Attack("pipelined cached reads", program="load", options=DEEP),
    Attack("largest requests", attacker.largest, is_longest=True),
    Attack("save", attacker.on_own_sessions("save")),
    Attack("info", attacker.on_own_sessions("info")),
    Attack("create and delete", program="churn", options=(("operation", "create"), ("clients", PROCESSES))),
    Attack("open and close", program="churn", options=(("operation", "open"), ("clients", PROCESSES))),
    Attack("answers never read", attacker.unread),
    Attack("monitor of a flood", attacker.monitor, config=EVERYBODY),
    Attack("exclusive opens that wait", attacker.waiting_opens),
    Attack("refused opens", attacker.refused_opens),
    Attack("invalid messages", attacker.invalid),
    Attack("invalid messages, log held", attacker.invalid, log_is_held=True),
    Attack("as many sessions as it gets", attacker.many_sessions, opens=True),
    Attack("unfinished, 5000 sessions open", attacker.unfinished, held=HELD),
    Attack("never read, 5000 sessions open", attacker.unread, held=HELD),
]


# ---- one daemon ----


class Place:
    """A daemon of its own for an attack, in a folder that all users may pass through."""

    def __init__(self, folder: Path, attack: Attack, args: argparse.Namespace) -> None:
        self.folder, self.attack, self.seconds = folder, attack, args.seconds
        self.attempts, self.fair = args.attempts, args.fair
        self.programs = folder.parent
        self.socket = str(folder / "socket")
        self.log = folder / "log"

    async def __aenter__(self) -> Place:
        self.folder.mkdir(mode=0o711)
        os.chown(self.folder, DAEMON, DAEMON)
        self.start_daemon()
        programs = Programs(self.programs, VICTIM, realtime=not self.fair)
        self.ordinary = Ordinary(programs, self.socket, self.seconds)
        self.keeper = await self.ordinary.prepare()
        return self

    def start_daemon(self) -> None:
        config = self.folder / "conf"
        config.write_text(self.attack.config)
        words = [self.programs / "gramd", "--config", config, "--socket", self.socket, "--data", self.folder / "data"]
        if self.attack.log_is_held:
            self.pipe, log = os.pipe()
        else:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        words += ["--idle-close", "0"]  # each round of a loop opens and closes a file
        self.daemon = subprocess.Popen(words, stderr=log, **as_user(DAEMON))
        os.close(log)
        mongo_lab.wait_for(self.socket, self.daemon)
        os.chmod(self.socket, 0o666)

    async def __aexit__(self, *_: object) -> None:
        self.keeper.close()
        self.daemon.terminate()
        self.daemon.wait()
        if self.attack.log_is_held:
            os.close(self.pipe)
        shutil.rmtree(self.folder)

    # ---- its memory ----

    def forget_peak(self) -> None:
        Path(f"/proc/{self.daemon.pid}/clear_refs").write_text("5")

    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    # ---- what it does for the attacker ----

    async def counters(self) -> Figures:
        stats = await self.keeper.call("stats")
        return {
            "time": asyncio.get_running_loop().time(),
            "requests": stats["requests_total"],
            "connections": stats["connections_total"],
            "log": self.log_bytes(),
        }

    def log_bytes(self) -> int:
        if not self.attack.log_is_held:
            return self.log.stat().st_size
        waiting = array.array("i", [0])
        fcntl.ioctl(self.pipe, termios.FIONREAD, waiting)
        return waiting[0]

    # ---- the attack ----

    def held(self) -> contextlib.AbstractAsyncContextManager[None]:
        if not self.attack.held:
            return contextlib.nullcontext()
        return held(Programs(self.programs, HOLDER), self.socket, self.keeper, self.attack.held, self.attack.held)

    @contextlib.asynccontextmanager
    async def attacked_by_program(self) -> AsyncIterator[None]:
        programs = Programs(self.programs, ATTACKER, () if self.fair else ("chrt", "--idle", "0"))
        options = dict(self.attack.options)
        if self.attack.program == "load":
            await programs.run("load", socket=self.socket, operation="put", name="flood", count=PEERS, rows=100)
            place, n = "socket", PROCESSES
        else:
            place, n = "place", 1  # it makes processes itself
        options |= {place: self.socket, "seconds": 3600}
        running = [await programs.start(self.attack.program, **options) for _ in range(n)]
        await asyncio.sleep(0.5)
        yield
        if any(process.returncode is not None for process in running):
            raise Failed(f"{self.attack.name}: the attacker has ended")
        for process in running:
            process.terminate()
        for process in running:
            await process.wait()

    @contextlib.asynccontextmanager
    async def attacked_by_processes(self) -> AsyncIterator[None]:
        parts = [attacker.Attacker(self.socket, n, PROCESSES, FORK.Event()) for n in range(PROCESSES)]
        running = [FORK.Process(target=attack_as, args=(self.fair, self.attack.function, part)) for part in parts]

        def ended() -> list[Any]:
            return [process for process in running if not process.is_alive()]

        for process in running:
            process.start()
        try:
            while not all(part.ready.is_set() for part in parts):
                if ended():
                    raise Failed(f"{self.attack.name}: an attacker has ended")
                await asyncio.sleep(0.05)
            yield
            if ended():
                raise Failed(f"{self.attack.name}: an attacker has ended")
        finally:
            for process in running:
                process.kill()
                process.join()

    # ---- what the client notices ----

    async def connects(self) -> Figures:
        here, there = FORK.Pipe(duplex=False)
        process = FORK.Process(target=connect_as_victim, args=(self.fair, self.socket, self.seconds, there))
        process.start()
        there.close()
        while process.is_alive() and not here.poll():
            await asyncio.sleep(0.05)
        took = here.recv()
        process.join()
        return {"connects": len(took), "refused": took.count(math.inf), "slowest connect": max(took)}

    async def measure(self) -> Figures:
        figures, connects = await asyncio.gather(self.measure_client(), self.connects())
        return {**figures, **connects}

    async def measure_client(self) -> Figures:
        try:
            return await self.ordinary.measure()
        except Failed as failed:
            print(f"{self.attack.name}: the client: {failed}", file=sys.stderr)
            return dict.fromkeys(("read p50", "read p99", "write p50", "write p99"), math.inf)

    async def run(self) -> dict[str, Figures]:
        async with self.held():
            quiet = await least_disturbed(self.measure, self.attempts)
            self.forget_peak()
            async with self.attacked_by_program() if self.attack.program else self.attacked_by_processes():
                before = await self.counters()
                beside = await least_disturbed(self.measure, self.attempts)
                after = await self.counters()
            beside |= {name: (after[name] - before[name]) / (after["time"] - before["time"]) for name in before}
            beside["memory"] = self.peak_mib()
            if self.attack.log_is_held and self.log_bytes() < PIPE:
                raise Failed(f"{self.attack.name}: the pipe of the log is not full")
        return {"quiet": quiet, "attacked": beside}


# The processes that are forked.


def attack_as(fair: bool, function: Callable[[attacker.Attacker], None], part: attacker.Attacker) -> None:
    attacker.become(ATTACKER)
    if not fair:
        attacker.yield_processors()
    while True:
        with contextlib.suppress(ConnectionError):  # the daemon has closed a connection: the attack begins again
            function(part)
        part.ready.set()
        time.sleep(0.05)


def connect_as_victim(fair: bool, *args: Any) -> None:
    if not fair:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(CLIENT_PRIORITY))
    attacker.become(VICTIM)
    attacker.connects(*args)


# ---- the report ----

HEAD = (
    f"{'attack':31} {'read p99, µs':>17} {'× quiet':>28} {'write p99, µs':>17} {'× quiet':>28} {'connects':>9}"
    f" {'slowest':>8} {'memory':>14} {'requests':>10} {'connects':>10} {'log':>11} {'others':>6}"
)


def row_of_readme(attack: Attack, rounds: list[dict[str, Figures]]) -> str:
    cells = [attack.name]
    for figure in "read p99", "write p99":
        ratios = [one["attacked"][figure] / one["quiet"][figure] for one in rounds]
        cells.append(times_quiet(ratios, True))
    attacked = [one["attacked"] for one in rounds]
    cells.append(f"{max(one['memory'] for one in attacked):.0f}")
    refused = sum(one["refused"] for one in attacked)
    cells.append(f"{refused:.0f} of {sum(one['connects'] for one in attacked):.0f} refused" if refused else "all")
    return f"| {' | '.join(cells)} |"


def report(attack: Attack, rounds: list[dict[str, Figures]]) -> str:
    def middle(run: str, figure: str) -> float:
        return statistics.median(one[run][figure] for one in rounds)

    cells = [f"{attack.name:31}"]
    for what, target in ("read", READ_TARGET), ("write", WRITE_TARGET):
        figure = f"{what} p99"
        ratios = [one["attacked"][figure] / one["quiet"][figure] for one in rounds]
        quiet, beside = middle("quiet", figure), middle("attacked", figure)
        in_time = attack.is_longest and what == "read" and beside <= LONGEST_US
        met = in_time or statistics.median(ratios) <= target
        cells.append(f"{quiet:7.0f} → {beside:7.0f} {times_quiet(ratios, met):>28}")
    attacked = [one["attacked"] for one in rounds]
    connects = int(sum(one["connects"] for one in attacked))
    could = connects - int(sum(one["refused"] for one in attacked))
    memory = max(one["memory"] for one in attacked)
    target = MEMORY_TARGET_HELD if attack.held or attack.opens else MEMORY_TARGET
    cells.append(f"{could:4}/{connects:4}")
    cells.append(f"{1000 * max(one['slowest connect'] for one in attacked):5.0f} ms")
    cells.append(f"{memory:3.0f} MiB {'' if memory < target else 'MISSED':6}")
    for name in "requests", "connections":
        cells.append(f"{middle('attacked', name):8.0f}/s")
    cells.append(f"{middle('attacked', 'log') / 1024:5.0f} KiB/s {100 * middle('attacked', 'foreign'):4.0f} %")
    return " ".join(cells)


async def measure(folder: Path, args: argparse.Namespace) -> None:
    attacks = [one for one in ATTACKS if not args.only or any(word in one.name for word in args.only)]
    results: dict[str, list[dict[str, Figures]]] = {attack.name: [] for attack in attacks}
    for number in range(args.rounds):
        for attack in random.sample(attacks, len(attacks)):
            print(f"round {number + 1} of {args.rounds}: {attack.name}", file=sys.stderr)
            async with Place(folder / f"{number}-{attacks.index(attack)}", attack, args) as place:
                results[attack.name].append(await place.run())
    print(f"\ntargets: p99 of reads {READ_TARGET} × quiet, of writes {WRITE_TARGET}, beside largest requests")
    print(f"{LONGEST_US} µs; all connects; memory {MEMORY_TARGET} MiB, with {HELD} sessions or more {MEMORY_TARGET_HELD}")
    print(f"\n{HEAD}")
    for attack in attacks:
        print(report(attack, results[attack.name]))
    if args.markdown:
        print("\n| attack | reads, p99 × quiet | writes, p99 × quiet | memory, MiB | connects |\n|---|---|---|---|---|")
        for attack in attacks:
            print(row_of_readme(attack, results[attack.name]))


def main() -> None:
    mongo_lab.use_python_of_the_lab()
    parser = argparse.ArgumentParser(description="measure an ordinary client while another user attacks the daemon")
    parser.add_argument("--quick", action="store_true", help="one round of short runs, none is repeated")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0, help="length of a run")
    parser.add_argument("--fair", action="store_true", help="all programs have the same priority")
    parser.add_argument("--markdown", action="store_true", help="print the table of the README, too")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="attacks with one of these words")
    args = parser.parse_args()
    args.rounds = args.rounds or (1 if args.quick else 5)
    args.seconds = args.seconds or (1.5 if args.quick else 3)
    args.attempts = 1 if args.quick else 3  # of a run that other programs disturb
    if os.geteuid() != 0:
        raise SystemExit("only root can start programs as three different users")
    os.environ["GRAMD_SERVER_UID"] = str(DAEMON)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:  # on a disk, as sessions are
        folder = Path(name)
        folder.chmod(0o711)
        for program in mongo_lab.BUILD / "gramd", mongo_lab.BUILD / "bench" / "load", mongo_lab.BUILD / "bench" / "churn":
            shutil.copy(program, folder)
        asyncio.run(measure(folder, args))


if __name__ == "__main__":
    main()
