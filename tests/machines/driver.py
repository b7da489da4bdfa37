"""Runs three hosts on one MongoDB server with clients on each, disturbs the hosts at random, and has the history checked.

`driver.py` prints the seed, the figures and what is wrong. If something is wrong the history and the daemons' logs stay
where it says. It needs $BUILD, $SOURCE, $VENVS and $CC, as tests/run sets them, and the Python of $VENVS/mongo."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Optional

import history
from changes import changes
from checker import check
from client import Client
from faults import Fault
from history import SECOND, Writer, now
from holds import World, understand
from host import Host, end_with_parent
from plants import PLANTS, Plant
from report import summary
from store import REGISTERS, SESSIONS, StoreError
from wire_store import Wire, ask

HERE = Path(__file__).resolve().parent
HOSTS = 3
KINDS = ("wire", "package", "c", "wire")
"""The clients of each host."""

SERVER = Path(os.environ.get("VENVS", "")) / "mongo" / "bin" / "secantusd-py"
SERVER_S = 60.0
LEAST_CHANGES = 5
PLANT_S = 90.0
LAST_S = 60.0
"""How long the clients may take to end in order."""


class Failed(Exception):
    """The run itself went wrong: no history tells it."""


def compiled(directory: Path, source: str, *flags: str, extra: Sequence[str] = ()) -> Path:
    """What tests/machines has in C, built into the run's directory."""
    program = directory / Path(source).stem
    words = [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", *extra, "-o", str(program)]
    subprocess.run([*words, str(HERE / source), *flags], check=True)
    return program


class Tail:
    """Counts changes of owner while the clients write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}
        self._opens: dict[tuple[str, int], str] = {}
        self._owners: dict[str, dict[int, int]] = {}

    def _line(self, line: str) -> None:
        event = json.loads(line)
        if event.get("op") == "open":
            self._opens[event["c"], event["n"]] = event["s"]
        elif event["e"] == "ret" and (event["c"], event["n"]) in self._opens:
            session = self._opens.pop((event["c"], event["n"]))
            if event["ok"]:
                self._owners.setdefault(session, {})[event["fence"]] = event["h"]

    def changes(self) -> int:
        for path in self._directory.glob("*.history"):
            with open(path) as file:
                file.seek(self._read.get(path, 0))
                text = file.read()
            whole = text.rfind("\n") + 1
            self._read[path] = self._read.get(path, 0) + len(text[:whole].encode())
            for line in text[:whole].splitlines():
                if '"open"' in line or '"ret"' in line:
                    self._line(line)
        total = 0
        for owners in self._owners.values():
            hosts = [owners[fence] for fence in sorted(owners)]
            total += sum(1 for a, b in zip(hosts, hosts[1:]) if a != b)
        return total


class Run:
    def __init__(self, directory: Path, seed: int, term_s: float, plant: Optional[Plant] = None) -> None:
        self.directory = directory
        self.seed = seed
        self.term_s = term_s
        self.plant = plant
        self.dice = random.Random(seed)
        self.history = Writer(directory / "driver.history")
        self.hosts: list[Host] = []
        self.sessions = [f"machines{i}" for i in range(SESSIONS)]
        self._server: Optional[asyncio.subprocess.Process] = None
        self._clients: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._disturbers: list[asyncio.Task[None]] = []
        self._busy: set[int] = set()
        self.ending = False
        library = [f"-I{HERE.parent.parent / 'client-lib'}", f"{os.environ['BUILD']}/libgram.a", "-lmsgpackc"]
        sanitize = os.environ.get("SANITIZE")
        extra = [f"-fsanitize={sanitize}"] if sanitize else []
        if os.environ.get("COVERAGE"):
            extra.append("--coverage")
        self._c_client = compiled(directory, "client.c", *library, extra=extra)
        self.can_drain = True
        self.slack = 3.0 if os.environ.get("SANITIZE") else 1.0
        self.history.put("run", term_ms=round(term_s * 1000), seed=seed, slack=self.slack)

    def library(self, source: str) -> Path:
        """To be preloaded."""
        return compiled(self.directory, source, "-shared", "-fPIC")

    # ---- the server ----

    async def _serve(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        with open(self.directory / "mongo.log", "wb") as log:
            words = ["--host", "127.0.0.1", "--port", str(port), "--storage-path", str(self.directory / "mongo")]
            self._server = await asyncio.create_subprocess_exec(
                str(SERVER), *words, stdout=log, stderr=subprocess.STDOUT, preexec_fn=end_with_parent
            )
        until = time.monotonic() + SERVER_S
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return port
            if self._server.returncode is not None or time.monotonic() > until:
                raise Failed("the MongoDB server does not start: see mongo.log")
            await asyncio.sleep(0.02)

    # ---- clients ----

    def _words(self, name: str, host: Host, kind: str) -> list[str]:
        path = self.directory / f"{name}.history"
        seed = self.dice.randrange(1 << 31)
        if kind == "c":
            words = [str(self._c_client), name, str(host.number), host.socket, str(path), str(seed)]
            return [*words, str(round(self.term_s * 1000)), *self.sessions]
        about = {
            "id": name,
            "host": host.number,
            "kind": kind,
            "socket": host.socket,
            "history": str(path),
            "seed": seed,
            "term_s": self.term_s,
            "sessions": self.sessions,
        }
        return [sys.executable, str(HERE / "client.py"), json.dumps(about)]

    async def _keep_client(self, host: Host, number: int) -> None:
        """A client that has killed itself is replaced by another."""
        kind = KINDS[number % len(KINDS)]
        package = str(HERE.parent.parent / "client-lib" / "python")
        environment = {**os.environ, "PYTHONPATH": package, "PYTHONDONTWRITEBYTECODE": "1"}
        life = 0
        while not self.ending:
            life += 1
            name = f"h{host.number}{kind}{number}.{life}"
            with open(self.directory / "clients.log", "ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *self._words(name, host, kind), env=environment, stderr=log, preexec_fn=end_with_parent
                )
            self._clients[name] = process
            code = await process.wait()
            del self._clients[name]
            if code not in (0, -signal.SIGKILL) and not (self.ending and code == -signal.SIGTERM):  # as it began
                raise Failed(f"client {name} ended with {code}: see clients.log")
            if not self.ending:
                await asyncio.sleep(self.dice.uniform(0.1, 0.5) * self.term_s)

    def wire_client(self, host: int, deaf: bool = False) -> Client:
        """A client in this process. It can have one session at a time."""
        name = f"driver{host}"
        about = {
            "id": name,
            "host": host,
            "history": self.directory / f"{name}.history",
            "seed": 0,
            "term_s": self.term_s,
            "sessions": self.sessions,
            "deaf": deaf,
        }
        return Client(Wire(self.hosts[host].socket, name, leaves=False), about, 0, asyncio.Event())

    async def _end_clients(self) -> None:
        self.ending = True
        for process in list(self._clients.values()):
            process.send_signal(signal.SIGTERM)
        late = {name: process for name, process in self._clients.items()}
        _, waiting = await asyncio.wait(self._keepers, timeout=LAST_S)
        if waiting:
            raise Failed(f"clients do not end: {sorted(name for name in late if name in self._clients)}")
        for keeper in self._keepers:
            keeper.result()

    # ---- what happens to hosts ----

    async def _pause(self, least: float, most: float) -> None:
        """Terms."""
        await asyncio.sleep(self.dice.uniform(least, most) * self.term_s)

    async def _freeze(self, host: Host) -> None:
        host.freeze()
        await self._pause(*self.dice.choice(((0.1, 0.9), (1.4, 2.5))))
        host.thaw()

    async def _kill(self, host: Host) -> None:
        await host.kill()
        await self._pause(*self.dice.choice(((0.0, 0.1), (1.5, 2.5), (1.5, 2.5))))
        await host.start()

    async def _kill_while_writing(self, host: Host) -> None:
        """What the host has sent last arrives when others have its sessions."""
        host.note("hold")
        host.proxy.hold()
        await self._pause(0.1, 0.4)
        await host.kill()
        await self._pause(1.6, 3.0)
        host.proxy.heal()
        host.note("heal")
        await host.start()

    async def _upgrade(self, host: Host) -> None:
        await host.end()
        await self._pause(*self.dice.choice(((0.0, 0.1), (0.0, 0.1), (1.0, 2.5))))
        await host.start()

    async def _cut(self, host: Host) -> None:
        host.note("cut")
        host.proxy.cut()
        await self._pause(*self.dice.choice(((0.1, 0.5), (1.4, 2.5))))
        host.proxy.heal()
        host.note("heal")

    async def _hold(self, host: Host) -> None:
        host.note("hold")
        host.proxy.hold()
        await self._pause(*self.dice.choice(((0.1, 0.5), (1.4, 2.5))))
        host.proxy.heal()
        host.note("heal")

    async def _hold_one(self, host: Host) -> None:
        host.note("hold")
        host.proxy.hold_one()
        await self._pause(0.3, 2.5)
        host.proxy.heal()
        host.note("heal")

    async def _drain(self, host: Host) -> None:
        if not self.can_drain:
            return
        host.note("drain")
        try:
            await ask(host.socket, "drain", True)
            await self._pause(0.5, 2.0)
            await ask(host.socket, "drain", False)
        except StoreError as error:
            if error.code != "unknown_method":
                raise Failed(f"drain on host {host.number}: {error.code}") from None
            self.can_drain = False
        host.note("undrain")

    async def _weather(self, host: Host) -> None:
        host.note("slow")
        host.proxy.set_delay(self.dice.choice((0.005, 0.02)), self.dice.choice((0.0, 0.02)), 0.2 * self.term_s)
        await self._pause(1.0, 3.0)
        host.proxy.set_delay(0.0)
        host.note("fast")

    async def _disturb(self) -> None:
        deeds: list[tuple[int, Callable[[Host], Awaitable[None]]]] = [
            (3, self._freeze),
            (6, self._kill),
            (2, self._kill_while_writing),
            (3, self._upgrade),
            (2, self._cut),
            (2, self._hold),
            (3, self._hold_one),
            (4, self._drain),
            (1, self._weather),
        ]
        while not self.ending:
            await self._pause(0.1, 0.7)
            free = [host for host in self.hosts if host.number not in self._busy]
            if not free or self.ending:
                continue
            host = self.dice.choice(free)
            deed = self.dice.choices([deed for _, deed in deeds], [weight for weight, _ in deeds])[0]
            self._busy.add(host.number)
            await deed(host)
            self._busy.discard(host.number)

    # ---- the run ----

    async def _read_all(self) -> None:
        """Each host in turn reads what is stored at the end."""
        for host in self.hosts:
            client = self.wire_client(host.number)
            await client.read_everything(self.sessions, REGISTERS)
            client.end()

    async def _until(self, n_changes: int, seconds: float) -> None:
        """Until the owners have changed so often, or the time is over."""
        tail = Tail(self.directory)
        end = now() + seconds * SECOND
        while now() < end and (n_changes == 0 or tail.changes() < n_changes):
            await asyncio.sleep(1.0 if n_changes else min(0.2, seconds))
            for task in (*self._keepers, *self._disturbers):
                if task.done():
                    task.result()
            for host in self.hosts:
                if host.number not in self._busy and host.died() is not None:  # killed by nobody here
                    raise Failed(f"gramd on host {host.number} ended with {host.died()}")

    async def run(self, n_changes: int, seconds: float) -> None:
        port = await self._serve()
        for number in range(HOSTS):
            dice = random.Random(self.dice.random())
            host = Host(number, self.directory / f"host{number}", port, self.term_s, self.history, dice)
            self.hosts.append(host)
            if not self.plant:
                host.layout = self.dice.choice(("own", "shared"))
            if self.plant and number == 0:
                self.plant.prepare(host, self)
            await host.prepare()
        await asyncio.gather(*(host.start() for host in self.hosts))
        if self.plant:
            await asyncio.wait_for(self.plant.run(self.hosts[0], self), PLANT_S)
            return
        self._keepers = [
            asyncio.ensure_future(self._keep_client(host, number)) for host in self.hosts for number in range(len(KINDS))
        ]
        self._disturbers = [asyncio.ensure_future(self._disturb()) for _ in range(2)]
        await self._until(n_changes, seconds)
        await self._finish()

    async def _finish(self) -> None:
        self.ending = True
        for task in self._disturbers:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for host in self.hosts:
            host.proxy.plants.clear()
            host.proxy.set_delay(0.0)
            host.proxy.heal()
        await self._end_clients()
        await self._read_all()
        for host in self.hosts:
            await host.end()

    async def stop(self) -> None:
        """Ends what runs, whatever has happened."""
        self.ending = True
        for task in (*self._keepers, *self._disturbers):
            task.cancel()
        for process in list(self._clients.values()):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        for host in self.hosts:
            await host.stop()
        if self._server is not None and self._server.returncode is None:
            self._server.kill()
            await self._server.wait()
        self.history.close()


async def run_once(run: Run, n_changes: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    assert me is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, me.cancel)
    try:
        await run.run(n_changes, seconds)
    finally:
        await run.stop()
        await asyncio.sleep(0)


def judge(directory: Path) -> tuple[World, list[Fault], int]:
    events = history.read(directory)
    world = understand(events)
    return world, check(world), events[0]["t"]


def keep(directory: Path, keeping: Path) -> Path:
    """Keeps histories and logs."""
    keeping.mkdir(parents=True, exist_ok=True)
    kept = Path(tempfile.mkdtemp(prefix="machines.", dir=keeping))
    for path in [*directory.glob("*.history"), *directory.glob("*.log"), *directory.glob("host*/*.log")]:
        name = path.name if path.parent == directory else f"{path.parent.name}.{path.name}"
        shutil.copy(path, kept / name)
    return kept


def drive(seed: int, n_changes: int, seconds: float, term_s: float, keeping: Path) -> bool:
    """Whether the run found nothing wrong."""
    print(f"machines: seed {seed}, term {term_s} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="machines.") as scratch:
        directory = Path(scratch)
        why = ""
        try:
            asyncio.run(run_once(Run(directory, seed, term_s), n_changes, seconds))
        except (Failed, AssertionError, OSError, asyncio.TimeoutError, asyncio.CancelledError) as failure:
            why = f"{type(failure).__name__}: {failure}"
        world, faults, start = judge(directory)
        for fault in faults[:20]:
            print(f"machines: {(fault.t - start) / 1e9:8.3f} s  {fault}")
        print(summary(world, faults))
        n = len(changes(world))
        if not why and n < max(n_changes, LEAST_CHANGES):
            why = f"sessions have changed owner only {n} times: nothing is shown"
        if why:
            print(f"machines: the run failed: {why}")
        if not faults and not why:
            return True
        print(f"machines: history and logs are in {keep(directory, keeping)}; repeat with --seed {seed}")
        return False


def prove(seed: int, term_s: float, keeping: Path, names: list[str]) -> bool:
    """Whether every plant was found."""
    good = True
    for plant in PLANTS:
        if names and plant.name not in names:
            continue
        with tempfile.TemporaryDirectory(prefix="machines.") as scratch:
            directory = Path(scratch)
            began = time.monotonic()
            found: list[Fault] = []
            why = ""
            try:
                asyncio.run(run_once(Run(directory, seed, term_s, plant), 0, 0.0))
            except (Failed, AssertionError, OSError, asyncio.TimeoutError) as failure:
                why = f" ({type(failure).__name__}: {failure})"
            found = judge(directory)[1]
            missing = set(plant.kinds) - {fault.kind for fault in found}
            took = f"{time.monotonic() - began:.0f} s"
            if not missing and not why:
                print(f"machines: plant '{plant.name}' was found after {took}: {found[0]}", flush=True)
            else:
                good = False
                kept = keep(directory, keeping)
                print(f"machines: plant '{plant.name}' WAS NOT FOUND in {took}{why}; see {kept}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("GRAMD_TEST_SEED") or 1))
    parser.add_argument("--changes", type=int, default=0, help="ends after so many changes of owner; 0: after --seconds")
    parser.add_argument("--seconds", type=float, default=3600.0, help="the longest time that the hosts are disturbed for")
    parser.add_argument("--term", type=float, default=1.0, help="seconds")
    keeping = Path(os.environ["BUILD"]) / "kept"
    parser.add_argument("--keep", type=Path, default=keeping, help="where history and logs of a failed run go")
    parser.add_argument("--prove", nargs="*", metavar="PLANT", help="breaks something on purpose; each must be found")
    options = parser.parse_args()
    if options.prove is not None:
        return 0 if prove(options.seed, options.term, options.keep, options.prove) else 1
    return 0 if drive(options.seed, options.changes, options.seconds, options.term, options.keep) else 1


if __name__ == "__main__":
    sys.exit(main())
