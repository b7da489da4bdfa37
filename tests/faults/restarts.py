"""A daemon that is killed or ended, and started again, each second, under a client with libgram, one with the Python
package, and an observer. No call may fail, nothing may be lost or applied twice, no read may be wrong, and the memory
of the clients and of the daemon stays as it is."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Optional

from clients import SESSION, end_clients, start_clients
from daemon import READY_S, Daemon, Failed, sanitized
from wire import Disconnected, Wire, WireError

PLANT_S = 4.0
LEAST_RESTARTS = 6
"""On a machine that is slow, too."""
GROWTH = 1.10
GROWTH_KB = 2048
"""What the memory may grow by, from the first half of a run to its end."""

REGISTERS: tuple[tuple[str, list[Any]], ...] = (
    ("get", [["user_id"]]),
    ("get", [["takeout_id"]]),
    ("get_peer_by_id", [1]),
    ("get_peer_by_id", [2]),
    ("get_states", [[1]]),
    ("get_states", [[2]]),
)


class Observer(threading.Thread):
    """Reads what the clients write. A value that falls was written twice: once more after a newer one."""

    def __init__(self, socket: str) -> None:
        super().__init__()
        self.socket = socket
        self.stopping = False
        self.reads = 0
        self.faults: list[str] = []
        self.has_begun = threading.Event()
        self._known = [0] * len(REGISTERS)

    @staticmethod
    def _value(method: str, answer: Any) -> int:
        if method == "get_states":
            return int(answer[0][1]) if answer else 0
        return int((answer[0] if method == "get" else answer[1]) or 0)

    def _read(self, wire: Wire, handle: int) -> None:
        for number, (method, params) in enumerate(REGISTERS):
            try:
                value = self._value(method, wire.call(method, handle, *params))
            except WireError as error:
                value = 0
                if error.code != "not_found":
                    self.faults.append(f"the observer's {method}: {error}")
            self.reads += 1
            if value < self._known[number]:
                self.faults.append(f"{method}{params}: {value} was read after {self._known[number]}")
            self._known[number] = value
        if min(self._known[:2]) > 10:
            self.has_begun.set()

    def run(self) -> None:
        while not self.stopping:
            try:
                with Wire(self.socket, "observer") as wire:
                    handle = wire.open(SESSION, wait=10000)
                    while not self.stopping:
                        self._read(wire, handle)
            except (Disconnected, OSError):
                time.sleep(0.005)
            except WireError as error:
                self.faults.append(f"the observer: {error}")
                time.sleep(0.1)


def grown(memory_kb: list[int]) -> Optional[str]:
    """Compares the end of a run with its second quarter. None: it is flat, or too short to tell."""
    if len(memory_kb) < 20:
        return None
    quarter = len(memory_kb) // 4
    before, after = max(memory_kb[quarter : 2 * quarter]), max(memory_kb[-quarter:])
    return f"{before} kB, then {after} kB" if after > before * GROWTH + GROWTH_KB else None


class Plant:
    """What a run must find: an older state of the files (`lost`), or an older value written once more (`twice`)."""

    def __init__(self, kind: str, daemon: Daemon, observer: Observer) -> None:
        self.kind = kind
        self._daemon = daemon
        self._observer = observer
        self._copy = daemon.directory / "copy"

    def after_death(self, restarts: int) -> None:
        if self.kind == "lost" and restarts == 2:
            shutil.copytree(self._daemon.data, self._copy)
        elif self.kind == "lost" and restarts == 3:
            shutil.rmtree(self._daemon.data)
            shutil.copytree(self._copy, self._daemon.data)

    def after_start(self, restarts: int) -> None:
        if self.kind == "twice" and restarts == 3:
            with Wire(self._daemon.socket, "plant") as wire:
                handle = wire.open(SESSION, wait=10000)
                until = time.monotonic() + READY_S
                while not self._observer.faults and time.monotonic() < until:  # the clients soon write over it
                    wire.call("set", handle, {"user_id": 1})


def run(directory: Path, seconds: float, seed: int, kind: str = "") -> bool:
    """Whether nothing was found."""
    dice = random.Random(seed)
    daemon = Daemon(directory)
    socket = daemon.socket
    observer = Observer(socket)
    plant = Plant(kind, daemon, observer)
    daemon.start()
    children = start_clients(socket, directory)
    observer.start()
    observer.has_begun.wait(READY_S)  # the clients, too: it has seen their values
    restarts = 0
    memory_kb: list[int] = []
    faults: list[str] = []
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until or restarts < LEAST_RESTARTS:
            time.sleep(dice.uniform(0.4, 1.2))
            memory_kb.append(daemon.status_kb("VmRSS"))
            for child in children:
                child.look()
            if dice.random() < 0.7:
                daemon.kill()
            else:
                daemon.stop()
            time.sleep(dice.choice((0.0, 0.0, 0.1)))
            plant.after_death(restarts)
            daemon.start()
            plant.after_start(restarts)
            restarts += 1
    except Failed as failure:
        faults.append(str(failure))
    more, calls = end_clients(children)
    faults += more
    observer.stopping = True
    observer.join()
    daemon.stop()
    for child in children:
        if not sanitized() and grown(child.memory_kb):
            faults.append(f"memory of the {child.name} client: {grown(child.memory_kb)}")
    if not sanitized() and grown(memory_kb):
        faults.append(f"memory of the daemon: {grown(memory_kb)}")
    faults += observer.faults
    if kind:
        found = "was found" if faults else "WAS NOT FOUND"
        print(f"restarts: plant '{kind}' {found}: {faults[0].splitlines()[-1] if faults else ''}")
        return not faults
    for fault in faults[:10]:
        print(f"restarts: FAULT: {fault}")
    print(
        f"restarts: seed {seed}: {restarts} restarts, {calls} calls and {observer.reads} reads checked, "
        f"{len(faults)} faults; "
        f"memory at the end: daemon {memory_kb[-1]} kB, clients {[child.memory_kb[-1] for child in children]} kB"
    )
    return not faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="faults.") as scratch:
        for kind in ("lost", "twice"):
            good &= not run(Path(scratch) / kind, PLANT_S, options.seed, kind)
        good &= run(Path(scratch) / "run", options.seconds, options.seed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
