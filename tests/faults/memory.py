"""A daemon whose memory is short. Each allocation of a session's life fails in turn, or some by chance: every answer is
true, the daemon goes on, and works as before afterwards (memory.c). Then `memory-max`, and a limit that the kernel keeps,
which may kill the daemon: nothing that was acknowledged is lost."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from daemon import Daemon, Failed, compiled, library, sanitized
from ledger import Untrue
from life import Life
from mapped import Mapped
from wire import Disconnected, Silent, Wire, WireError

HERE = Path(__file__).resolve().parent
ON, SEEN, MET, AT, TIMES, ONE_IN = range(6)


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise Failed(what)


class Short(Mapped):
    """The numbers of memory.c."""

    def __init__(self, directory: Path, preload: Path, *, at: int = 0, times: int = 0, one_in: int = 0) -> None:
        super().__init__(directory, "FAULTS_MEMORY")
        self.preload = [preload]
        for which, value in ((AT, at), (TIMES, times), (ONE_IN, one_in), (ON, 1)):
            self.set(which, value)

    @property
    def met(self) -> int:
        return self.get(MET)

    @property
    def seen(self) -> int:
        return self.get(SEEN)

    def clear(self) -> None:
        self.set(ON, 0)


CONFIG = "idle-close = 0\nworkers = 1\nfsync = no\n"


class Outcome:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lives = self.met = self.acknowledged = 0
        self.faults: list[str] = []


def one(directory: Path, short: Short, dialect: str, what: str, outcome: Outcome) -> None:
    daemon = Daemon(directory, CONFIG, preload=short.preload, environment=short.environment)
    life = Life(daemon, short, dialect=dialect, may_disconnect=True)
    fault = ""
    try:
        life.live()
        life.check()
    except (Failed, Untrue, Silent, Disconnected, WireError, AssertionError, OSError) as failure:
        fault = f"{what}, {dialect}: {type(failure).__name__}: {failure}"
        fault += "".join(f"\n    {line}" for line in daemon.log().splitlines()[-8:])
    finally:
        daemon.end()
    with outcome.lock:
        outcome.lives += 1
        outcome.met += short.met > 0
        outcome.acknowledged += life.acknowledged
        if fault:
            outcome.faults.append(fault)
            print(f"memory: FAULT: {fault}")
    subprocess.run(["rm", "-rf", str(directory)], check=True)


DIALECTS = ("pyrogram", "kurigram", "telethon")


def allocations(root: Path, seconds: float, dice: random.Random) -> str:
    if sanitized():
        print("\n*** SKIPPED: failing allocations: they need an allocator that is not a sanitizer's ***\n")
        return "allocations: skipped"
    preload = library(root, HERE / "memory.c")
    counted = Short(root / "count", preload, at=1 << 40)
    outcome = Outcome()
    one(root / "count", counted, DIALECTS[0], "none", outcome)
    n = counted.seen
    expect(n > 1000 and not outcome.faults, f"a life makes {n} allocations")
    until = time.monotonic() + seconds

    def tries() -> Iterator[tuple[int, dict[str, int], str]]:
        for number in range(10**9):
            if time.monotonic() > until:
                return
            if number % 8 == 7:
                one_in = dice.choice((20, 50, 100, 300, 1000))
                yield number, {"one_in": one_in}, f"one allocation in {one_in}"
            else:
                at, times = dice.randrange(n), dice.choice((1, 1, 1, 2, 10, 100))
                yield number, {"at": at, "times": times}, f"allocation {at} and {times - 1} more"

    def each(job: tuple[int, dict[str, int], str]) -> None:
        number, how, what = job
        if time.monotonic() < until:
            directory = root / f"life{number}"
            one(directory, Short(directory, preload, **how), DIALECTS[number % 3], what, outcome)

    jobs = tries()
    lock = threading.Lock()

    def work(_: int) -> None:
        while True:
            with lock:
                job = next(jobs, None)
            if job is None:
                return
            each(job)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    expect(not outcome.faults, f"{len(outcome.faults)} faults in {outcome.lives} lives")
    return (
        f"allocations: {outcome.lives} lives of {n} allocations, in {outcome.met} some failed, "
        f"{outcome.acknowledged} acknowledged writes checked"
    )


def client_allocations(root: Path, seconds: float, _dice: random.Random) -> str:
    """Each allocation of a program with libgram, in turn."""
    if sanitized():
        return "a client's allocations: skipped"
    flags = [f"-I{HERE.parent.parent / 'client-lib'}", f"{os.environ['BUILD']}/libgram.a", "-lmsgpackc"]
    if os.environ.get("COVERAGE"):
        flags.append("--coverage")
    preload = library(root, HERE / "memory.c")
    program = compiled(root, HERE / "short_client.c", *flags)
    daemon = Daemon(root / "daemon")
    daemon.start()
    met = at = 0
    try:

        def client(short: Short, what: str) -> None:
            variables = {**os.environ, **short.environment, "LD_PRELOAD": str(preload)}
            words = [str(program), daemon.socket, "short"]
            result = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=60, check=False)
            expect(result.returncode == 0, f"a client without {what} ends with {result.returncode}: {result.stderr}")

        counted = Short(root, preload, at=1 << 40)
        client(counted, "nothing")
        until = time.monotonic() + seconds
        while at < counted.seen and time.monotonic() < until:
            short = Short(root, preload, at=at, times=1)
            client(short, f"allocation {at}")
            met += short.met
            at += 1
        for one_in in (3, 5, 10, 30, 100):
            short = Short(root, preload, one_in=one_in)
            client(short, f"one allocation in {one_in}")
            met += short.met
        daemon.stop()
    finally:
        daemon.end()
    return f"a client's allocations: {at} of {counted.seen} in turn, {met} failed"


def in_turn(what: str, test: str, root: Path, seconds: float) -> str:
    """Each allocation in turn, by a program in C. The short form is a test of its own."""
    if seconds < 10 or sanitized():
        return f"{what} allocations: in tests/{test}"
    program = Path(os.environ["BUILD"]) / "tests" / test
    variables = {**os.environ, "MEMORY_SECONDS": str(round(seconds)), "CK_TIMEOUT_MULTIPLIER": "100"}
    result = subprocess.run([str(program)], cwd=root, env=variables, capture_output=True, text=True, check=False)
    print(result.stdout, end="")
    expect(result.returncode == 0, f"{test} ends with {result.returncode}: {result.stderr[-2000:]}")
    lives = sum(int(word) for word in re.findall(r"(\d+) lives\b", result.stdout))
    return f"{what} allocations: {lives} lives"


def backend_allocations(root: Path, seconds: float, _dice: random.Random) -> str:
    return in_turn("a backend's", "backends/test_allocations", root, seconds)


def request_allocations(root: Path, seconds: float, _dice: random.Random) -> str:
    return in_turn("the requests'", "daemon/test_each_allocation", root, seconds)


def memory_max(root: Path, _seconds: float, _dice: random.Random) -> str:
    """Sessions in memory up to the limit: the rest is refused, and what is deleted makes room."""
    daemon = Daemon(root / "max", "memory-max = 8M\ncache = 1M\n")
    daemon.start()
    try:
        with Wire(daemon.socket) as wire:
            text = "x" * 200
            handles = [wire.open(f"m{number}", backend="memory") for number in range(4)]
            file = wire.open("file")
            stored = dict.fromkeys(handles, 0)
            refused = 0
            for n in range(100000):
                handle = handles[n % len(handles)]
                rows = [[stored[handle] + i + 1, n, "user", f"{text}{i}", None] for i in range(50)]
                code = wire.code("update_peers", handle, rows)
                expect(code in ("", "storage", "unavailable"), f"memory-max is answered {code}")
                refused = refused + 1 if code else 0
                stored[handle] += 0 if code else 50
                if refused > 8:
                    break
            expect(refused > 8, "memory-max is never reached")
            expect(not wire.code("update_peers", file, [[1, 1, "user", None, None]]), "a file session is refused")
            for handle in handles:
                peer = wire.call("get_peer_by_id", handle, stored[handle])
                expect(peer[3].startswith(text), f"a row is {peer}")
                code = wire.code("get_peer_by_id", handle, stored[handle] + 1)
                expect(code == "not_found", f"a refused row is answered {code!r}")
            used_kb = daemon.status_kb("VmRSS")
            expect(sanitized() or used_kb < 80 * 1024, f"{used_kb} kB with memory-max = 8M")
            wire.call("delete", handles.pop())
            for handle in handles:
                code = wire.code("update_peers", handle, [[-1, 1, "user", None, None]])
                expect(not code, f"there is room again, and a write is answered {code}")
        daemon.stop()
    finally:
        daemon.end()
    return f"memory-max: {sum(stored.values())} rows in memory, then refused"


# ---- a limit of the kernel's ----

LIMIT_BYTES = 96 << 20
CGROUP = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def cgroup(limit: int) -> Iterator[list[str]]:
    """Words before the daemon's name. Without cgroups that can be made here, RLIMIT_AS stands in: then allocations
    fail, and nobody is killed."""
    version1 = (CGROUP / "memory").is_dir()
    group = (CGROUP / "memory" if version1 else CGROUP) / f"gramd-faults-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if version1 else "memory.max")).write_text(str(limit))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        print(f"\n*** memory: no cgroup can be made here ({error}): RLIMIT_AS stands in for it ***\n")
        yield ["sh", "-c", f'ulimit -v {(limit + (600 << 20)) // 1024}; exec "$0" "$@"']
        return
    try:
        yield ["sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$0" "$@"']
    finally:
        for _ in range(100):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.05)


class Load:
    """Writes rows into many sessions, and reads them back."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.stored: dict[str, int] = {}
        self.connect()

    def connect(self) -> None:
        self.wire = Wire(self.daemon.socket, "load")
        self.handles: dict[str, int] = {}

    def step(self, n: int) -> None:
        name = f"s{n % 40}"
        if name not in self.handles:
            self.handles[name] = self.wire.open(name)
        first = self.stored.get(name, 0)
        rows = [[first + i + 1, first + i, "user", f"{'y' * 100}{first + i}", None] for i in range(200)]
        self.wire.call("update_peers", self.handles[name], rows)
        self.stored[name] = first + 200
        self.wire.call("get_peers", self.handles[name], list(range(1, 500)))

    def check(self, names: Iterable[str]) -> int:
        checked = 0
        for name in names:
            n = self.stored[name]
            if name not in self.handles:
                self.handles[name] = self.wire.open(name, create=False)
            for first in range(1, n + 1, 500):
                ids = list(range(first, min(first + 500, n + 1)))
                for peer in self.wire.call("get_peers", self.handles[name], ids):
                    expect(peer is not None and peer[1] == peer[0] - 1, f"{name}: a row is {peer}")
                    checked += 1
        return checked


PARTS_OF_LIMIT = (("within", "cache = 8M\npage-cache = 8M\n"), ("beyond", "cache = 512M\npage-cache = 256M\n"))


def kernel_limit(root: Path, seconds: float, _dice: random.Random) -> str:
    if sanitized():
        return "kernel's limit: skipped, a sanitizer needs memory of its own"
    deaths = checked = 0
    with cgroup(LIMIT_BYTES) as words:
        for part, options in PARTS_OF_LIMIT:
            daemon = Daemon(root / part, f"{options}idle-close = 60\n", wrapper=words)
            daemon.start()
            load = Load(daemon)
            until = time.monotonic() + seconds / 2
            n = 0
            left: list[str] = []
            try:
                while time.monotonic() < until or left:
                    try:
                        if time.monotonic() < until:
                            load.step(n)
                            n += 1
                            left = list(load.stored)
                        else:
                            checked += load.check(left[-1:])
                            left.pop()
                    except (Disconnected, OSError):
                        assert daemon.process is not None
                        if "ulimit" in words[2]:  # it had no memory for this connection, and lives
                            daemon.expect_alive()
                            with contextlib.suppress(Disconnected, OSError):
                                load.connect()
                            continue
                        status = daemon.process.wait(10)
                        died = part == "beyond" and status in (-9, -6)
                        expect(died, f"{part} the limit the daemon ended with {status}")
                        daemon.process = None
                        deaths += 1
                        daemon.start()
                        load.connect()
                    except WireError as error:
                        expect(error.code in ("storage", "unavailable"), f"a request is answered {error}")
                print(f"{part} the limit: {daemon.status_kb('RssAnon')} kB at the end")
                try:
                    daemon.stop()
                except Failed:
                    process = daemon.process
                    if part == "within" or process is None or process.returncode != -9:
                        raise
                    deaths += 1  # while it closed its sessions
                    daemon.process = None
                    daemon.start()
                    load.connect()
                    load.check(list(load.stored)[:3])
            finally:
                daemon.end()
    return f"kernel's limit: killed {deaths} times, {checked} acknowledged rows checked"


PARTS: dict[str, tuple[float, Callable[[Path, float, random.Random], str]]] = {
    "allocations": (0.3, allocations),
    "backend-allocations": (0.2, backend_allocations),
    "request-allocations": (0.2, request_allocations),
    "client-allocations": (0.1, client_allocations),
    "memory-max": (0.1, memory_max),
    "kernel-limit": (0.3, kernel_limit),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=18.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    good = True
    lines = []
    for name in options.parts or list(PARTS):
        share, part = PARTS[name]
        with tempfile.TemporaryDirectory(prefix="faults.", dir=None if name == "kernel-limit" else memory) as scratch:
            try:
                lines.append(part(Path(scratch), share * options.seconds, random.Random(options.seed)))
                print(f"memory: {lines[-1]}")
            except (Failed, Untrue, WireError, Disconnected, Silent, AssertionError) as failure:
                good = False
                print(f"memory: FAULT: {name}: {type(failure).__name__}: {failure} (seed {options.seed})")
    print(f"memory: seed {options.seed}: {'; '.join(lines)}" if good else "memory: failed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
