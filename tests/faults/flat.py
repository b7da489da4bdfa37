"""Sessions are opened and closed, created and deleted, clients connect and go, write, watch, and make mistakes, for as
long as told. The daemon's memory, its descriptors, its files and its logs stay level. Three leaks are planted before, and
must be found."""

from __future__ import annotations

import argparse
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgpack

from daemon import READY_S, Daemon, Failed, library, sanitized
from mapped import Mapped
from wire import Disconnected, Silent, Wire, WireError

HERE = Path(__file__).resolve().parent
ALLOCATED, WANTED, TOLD, LEAK_MEMORY, LEAK_DESCRIPTORS = range(5)

LEVELS = {
    # what: how much it may rise during a run, as a part of what it is, and in units
    "allocated kB": (0.01, 24.0),
    "RssAnon kB": (0.03, 1024.0),
    "descriptors": (0.0, 1.0),
    "files": (0.0, 1.0),
    "kB of -wal": (0.05, 256.0),
    "threads": (0.0, 0.5),
}
"""Samples are taken while nothing is under way, so they hardly differ. The rise is the slope of their regression line,
times the length of the run; it counts if it is also more than four times its standard error."""


class Memory(Mapped):
    """The numbers of flat.c."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "FAULTS_FLAT")
        self.preload = [] if sanitized() else [library(directory, HERE / "flat.c")]
        # Without the threads' own caches of freed memory, which mallinfo2() counts as allocated.
        self.environment["GLIBC_TUNABLES"] = "glibc.malloc.tcache_count=0"

    def allocated(self) -> int:
        if not self.preload:
            return 0
        wanted = self.get(WANTED) + 1
        self.set(WANTED, wanted)
        until = time.monotonic() + 10
        while self.get(TOLD) != wanted:
            if time.monotonic() > until:
                raise Failed("the daemon does not tell what it has allocated")
            time.sleep(0.001)
        return self.get(ALLOCATED)


class Churn:
    """Workers that use the daemon in turns. Between turns nothing is open that is not always open."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        self.daemon = daemon
        self.dice = random.Random(seed)
        self.turns = 0
        self.calls = 0
        self.leave_files = False
        self.lock = threading.Lock()
        self.faults: list[str] = []
        self.always = Wire(daemon.socket, "always")
        self.always_handle = self.always.open("always")
        self.watcher = Wire(daemon.socket, "watcher")
        self.watcher.call("watch", self.watcher.open("always"), True)

    def counted(self, n: int) -> None:
        with self.lock:
            self.calls += n

    # ---- kinds of use ----

    def open_and_close(self, dice: random.Random) -> None:
        with Wire(self.daemon.socket, "opener") as wire:
            for number in range(10):
                dialect = ("pyrogram", "kurigram", "telethon")[number % 3]
                handle = wire.open(f"kept{number}", dialect=dialect, wait=10000)
                peer = dice.randrange(1, 30)
                wire.call("update_peers", handle, [[peer, dice.randrange(1 << 40), "user", f"name{peer}", str(peer)]])
                wire.call("get_peer_by_username", handle, f"name{peer}")
                wire.call("update_states", handle, [[dice.randrange(5), 1, 2, 3, 4]])
                wire.call("set", handle, {"user_id": dice.randrange(1 << 40)})
                wire.call("close", handle)
            self.counted(60)

    def create_and_delete(self, dice: random.Random) -> None:
        with Wire(self.daemon.socket, "creator") as wire:
            for _ in range(5):
                name = f"temporary{dice.randrange(1 << 40)}"
                backend = dice.choice(("file", "file", "memory"))
                handle = wire.open(name, backend=backend)
                wire.call("update_peers", handle, [[i, i, "user", f"n{i}", None] for i in range(1, 30)])
                wire.call("save", handle)
                if not self.leave_files:
                    wire.call("delete", handle)
            self.counted(20)

    def come_and_go(self, dice: random.Random) -> None:
        for _ in range(20):
            wire = Wire(self.daemon.socket, f"passer-by{dice.randrange(1 << 30)}")
            handle = wire.open("always", wait=10000)
            wire.call("watch", handle, True)
            for n in range(dice.randrange(20)):  # it does not wait for the answers
                wire.send("get_peer_by_id", handle, n)
            wire.close()
        self.counted(60)

    def write(self, dice: random.Random) -> None:
        with Wire(self.daemon.socket, "writer") as wire:
            handle = wire.open("always", wait=10000)
            for _ in range(30):
                rows = []
                for _ in range(20):
                    peer = dice.randrange(1, 300)
                    rows.append([peer, dice.randrange(1 << 40), "user", f"w{peer}-{dice.randrange(4)}", None])
                wire.call("update_peers", handle, rows)
                wire.call("update_usernames", handle, [[dice.randrange(1, 300), [f"u{dice.randrange(300)}"]]])
            self.counted(61)

    def err(self, dice: random.Random) -> None:
        with Wire(self.daemon.socket) as wire:
            handle = wire.open("always", wait=10000)
            for method, params in (
                ("nonsense", []),
                ("get", [handle, ["no_field"]]),
                ("get_peer_by_id", [handle, 1 << 50]),
                ("get_peer_by_id", [12345, 1]),
                ("open", ["../x", {}]),
                ("open", [f"absent{dice.randrange(1 << 40)}", {"create": False}]),
                ("import_string", [handle, "nonsense", {}]),
                ("set", [handle, {"user_id": "text"}]),
            ):
                if not wire.code(method, *params):
                    raise Failed(f"{method}{params} succeeds")
        too_large = msgpack.packb([0, 1, "ping", ["x" * 5000000]])[:99999]
        for garbage in (b"\xc1", b"\x94\x00\x01", dice.randbytes(64), too_large):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bad:
                bad.connect(self.daemon.socket)
                try:
                    bad.sendall(garbage)
                except OSError:
                    continue
        self.counted(13)

    def turn(self) -> None:
        """All kinds at once, then nothing."""
        kinds = (self.open_and_close, self.create_and_delete, self.come_and_go, self.write, self.err)
        threads = []
        for kind in kinds:
            dice = random.Random(self.dice.random())
            threads.append(threading.Thread(target=self._guarded, args=(kind, dice)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.faults:
            raise Failed(self.faults[0])
        self.turns += 1
        while self.watcher.drop_answers(0):
            self.watcher.notified.clear()

    def _guarded(self, kind: Callable[[random.Random], None], dice: random.Random) -> None:
        try:
            kind(dice)
        except (Failed, WireError, Disconnected, Silent, OSError) as failure:
            self.faults.append(f"{kind.__name__}: {type(failure).__name__}: {failure}")

    def settle(self) -> None:
        """Until only what is always open is open, and all of that is on the disk."""
        until = time.monotonic() + READY_S
        while True:
            stats = self.always.call("stats")
            if stats["connections"] == 2 and stats["sessions"] == 1:
                self.always.call("save", self.always_handle)
                return
            if time.monotonic() > until:
                raise Failed(f"{stats['connections']} clients and {stats['sessions']} sessions are left after a turn")
            time.sleep(0.005)


def sample(daemon: Daemon, memory: Memory) -> dict[str, float]:
    return {
        "allocated kB": memory.allocated() / 1024,
        "RssAnon kB": float(daemon.status_kb("RssAnon")),
        "descriptors": float(daemon.n_open_files()),
        "files": float(len(list(daemon.data.iterdir()))),
        "kB of -wal": daemon.data_bytes("-wal") / 1024,
        "threads": float(daemon.status_kb("Threads")),
    }


def rise(times: list[float], values: list[float]) -> tuple[float, float]:
    """Of the regression line, from the first sample to the last; and its standard error."""
    n = len(times)
    t_mean, v_mean = sum(times) / n, sum(values) / n
    spread = sum((t - t_mean) ** 2 for t in times)
    slope = sum((t - t_mean) * (v - v_mean) for t, v in zip(times, values)) / spread
    rest = sum((v - v_mean - slope * (t - t_mean)) ** 2 for t, v in zip(times, values))
    length = times[-1] - times[0]
    return slope * length, (rest / (n - 2) / spread) ** 0.5 * length


def judge(times: list[float], samples: list[dict[str, float]]) -> tuple[list[str], str]:
    """What is not level, and the figures."""
    bad = []
    figures = []
    for what, (part, units) in LEVELS.items():
        if what == "RssAnon kB" and sanitized():
            continue  # freed memory is kept for a while
        values = [each[what] for each in samples]
        risen, error = rise(times, values)
        figures.append(f"{what} {sum(values) / len(values):.0f} {risen:+.1f}")
        if risen > part * sum(values) / len(values) + units and risen > 4 * error:
            bad.append(f"{what} rises by {risen:.1f}, from {values[0]:.0f} to {values[-1]:.0f}")
    return bad, ", ".join(figures)


LEAST_SAMPLES = 12
WARM = 12
"""Turns before the first sample."""


def run(directory: Path, seconds: float, seed: int, plant: str = "") -> tuple[list[str], str]:
    memory = Memory(directory)
    # A small cache and a small log are full soon: what is bounded stops growing.
    config = "idle-close = 0\ncache = 1M\npage-cache = 2M\nlog-level = error\n"
    daemon = Daemon(directory, config, preload=memory.preload, environment=memory.environment)
    daemon.start()
    try:
        churn = Churn(daemon, seed)
        times: list[float] = []
        samples: list[dict[str, float]] = []
        began = time.monotonic()
        pause = max(0.0, seconds / 400)
        due = 0.0
        while time.monotonic() - began < seconds or len(samples) < LEAST_SAMPLES:
            churn.turn()
            now = time.monotonic()
            if churn.turns == WARM:
                memory.set(LEAK_MEMORY, plant == "memory")
                memory.set(LEAK_DESCRIPTORS, plant == "descriptors")
                churn.leave_files = plant == "files"
            # The first fifth is for caches, logs and the allocator to fill.
            if churn.turns >= WARM and now - began > seconds / 5 and now >= due:
                due = now + pause
                churn.settle()
                samples.append(sample(daemon, memory))
                times.append(now - began)
        bad, figures = judge(times, samples)
        daemon.stop()
    finally:
        daemon.end()
    length = times[-1] - times[0]
    return bad, f"{churn.turns} turns, {churn.calls} calls, {len(samples)} samples over {length:.0f} s: {figures}"


PLANTS = {"memory": "allocated kB", "descriptors": "descriptors", "files": "files"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="faults.") as scratch:
        try:
            for plant, level in PLANTS.items():
                if sanitized() and plant != "files":
                    continue
                found = run(Path(scratch) / plant, 3.0, options.seed, plant)[0]
                if any(each.startswith(level) for each in found):
                    print(f"flat: planted leak of {plant} was found: {'; '.join(found)}")
                else:
                    good = False
                    print(f"flat: planted leak of {plant} WAS NOT FOUND; found: {found}")
            bad, figures = run(Path(scratch) / "run", options.seconds, options.seed)
        except (Failed, WireError, Disconnected, Silent, OSError) as failure:
            print(f"flat: FAULT: {type(failure).__name__}: {failure} (seed {options.seed})")
            return 1
    for each in bad:
        print(f"flat: FAULT: {each}")
    print(f"flat: seed {options.seed}: {figures}")
    return 0 if good and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
