"""Each file operation of a session's life fails in turn: its creation, each kind of write, the close, the recovery, the
deletion. Every answer is true, also after `kill -9` and a restart; the daemon never dies or hangs; and when the fault is
over, all works again without a restart."""

from __future__ import annotations

import argparse
import errno
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import ledger
from daemon import Daemon, Failed
from ledger import Untrue
from life import Life
from shim import OBJECTS, Rule, Shim
from wire import Disconnected, Silent, WireError

READS = ("open", "read")
FULL = ("create", "write", "truncate", "allocate", "sync", "rename", "link", "mkdir")
"""What a full disk refuses; a sync too, where blocks are found late."""
ALL = (*FULL, "unlink", "close", *READS)


@dataclass(frozen=True)
class Trial:
    dialect: str
    fsync: str
    action: str  # fail, short, ignore
    error: int
    lasting: bool  # until the client has noticed it; else one call
    position: int

    def operations(self) -> tuple[str, ...]:
        if self.action in ("short", "ignore"):
            return ("write",)
        if self.error == errno.EROFS:
            return (*FULL, "unlink")
        return FULL if self.error == errno.ENOSPC else ALL

    def kind(self) -> str:
        what = "short write" if self.action == "short" else errno.errorcode[self.error]
        return f"{what}, {'lasting' if self.lasting else 'once'}"

    def __str__(self) -> str:
        return f"{self.dialect}/{self.fsync}/{self.kind()}/{self.position}"


def begin(
    directory: Path, trial: Trial, counting: bool = False, objects: Sequence[str] = OBJECTS
) -> tuple[Life, Shim, Rule]:
    shim = Shim(directory, directory / "data")
    config = f"fsync = {trial.fsync}\nidle-close = 0\nworkers = 1\n"
    daemon = Daemon(directory, config, preload=shim.preload, environment=shim.environment)
    broken = shim.rule(
        trial.operations(),
        objects,
        trial.action,
        7 if trial.action == "short" else trial.error,
        skip=1 << 40 if counting else trial.position,
        times=0 if trial.lasting else 1,
    )
    return Life(daemon, broken, dialect=trial.dialect, lasting=trial.lasting), shim, broken


# ---- trials ----

KINDS = (
    ("fail", errno.EIO, False),
    ("fail", errno.EIO, True),
    ("fail", errno.ENOSPC, False),
    ("fail", errno.ENOSPC, True),
    ("fail", errno.EROFS, True),
    ("short", 0, False),
)
DIALECTS = ("pyrogram", "kurigram", "pyrofork", "telethon")


def count(directory: Path, trial: Trial) -> int:
    """How many calls a life makes that the trial could let fail."""
    life, shim, broken = begin(directory, trial, counting=True)
    try:
        life.live()
        life.stop()
        return broken.seen
    finally:
        life.daemon.end()
        shim.close()


def plant_is_found(root: Path) -> bool:
    """A write to the log that is reported as done, and not done: what was acknowledged is gone after a kill."""
    for skip in range(4, 24, 2):
        trial = Trial(DIALECTS[0], "always", "ignore", 0, False, skip)
        life, shim, _ = begin(root / f"plant{skip}", trial, objects=("log",))
        try:
            life.live()
            life.check()
        except (Failed, Untrue, WireError) as failure:
            print(f"disk: planted: a write to the log that is not done was found: {str(failure)[:150]}")
            return True
        finally:
            life.daemon.end()
            shim.close()
    print("disk: planted: a write to the log that is not done WAS NOT FOUND")
    return False


def plant_of_a_value_is_found(root: Path) -> bool:
    """The same when only values of the key-value area are written."""
    trial = Trial(DIALECTS[0], "always", "fail", errno.EIO, False, 0)
    life, shim, _ = begin(root / "plant-value", trial, counting=True)
    try:
        life.start()
        life.open(create=True)
        life.write(ledger.put_values)
        planted = shim.rule(("write",), ("log",), "ignore")
        life.write(life.swap)
        planted.clear()
        life.kill()
        life.read()
    except Untrue:
        print("disk: planted: a value that is not written was found")
        return True
    finally:
        life.daemon.end()
        shim.close()
    print("disk: planted: a value that is not written WAS NOT FOUND")
    return False


class Outcome:
    """Of all trials."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.trials: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.acknowledged = 0
        self.faults: list[str] = []


def one(root: Path, trial: Trial, outcome: Outcome) -> None:
    directory = root / str(trial).replace("/", "-").replace(", ", "-").replace(" ", "-")
    life, shim, broken = begin(directory, trial)
    fault = ""
    try:
        life.live()
        life.check()
    except (Failed, Untrue, Silent, Disconnected, WireError, AssertionError, OSError) as failure:
        fault = f"{trial}: {type(failure).__name__}: {failure}"
        log = life.daemon.log().splitlines()[-8:]
        fault += "".join(f"\n    {line}" for line in log)
    finally:
        met = broken.met > 0
        life.daemon.end()
        shim.close()
    with outcome.lock:
        outcome.trials[trial.kind()] += 1
        outcome.met[trial.kind()] += met
        outcome.acknowledged += life.acknowledged
        if fault:
            outcome.faults.append(fault)
            print(f"disk: FAULT: {fault}")
    subprocess.run(["rm", "-rf", str(directory)], check=True)


def trials(root: Path, dice: random.Random, fsync: str, whole: bool) -> Iterator[Trial]:
    """All positions: if `whole` of all dialects, one after another; else of one, in random order."""
    counted: dict[tuple[str, str, str, int], int] = {}
    every: list[Trial] = []
    for dialect in DIALECTS if whole else (dice.choice(DIALECTS),):
        for action, error, lasting in KINDS:
            key = (dialect, fsync, action, error)
            if key not in counted:
                counted[key] = count(root / f"count-{dialect}-{action}-{error}", Trial(*key[:4], lasting, 0))
            every += [Trial(*key[:4], lasting, position) for position in range(counted[key] + 5)]
    if not whole:
        dice.shuffle(every)
    yield from every


def run(seconds: float, seed: int, whole: bool, jobs: int, only: Optional[Trial]) -> bool:
    outcome = Outcome()
    dice = random.Random(seed)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="faults.", dir=memory) as scratch:
        root = Path(scratch)
        if only:
            one(root, only, outcome)
        elif not plant_is_found(root) or not plant_of_a_value_is_found(root):
            return False
        else:
            modes = ("always", "everysec") if whole else (dice.choice(("always", "always", "everysec")),)
            jobs_left = [trial for fsync in modes for trial in trials(root, dice, fsync, whole)]
            until = time.monotonic() + seconds

            def each(trial: Trial) -> None:
                if time.monotonic() < until:
                    one(root, trial, outcome)

            with ThreadPoolExecutor(jobs) as pool:
                list(pool.map(each, jobs_left))
    total = sum(outcome.trials.values())
    kinds = ", ".join(f"{kind}: {n}" for kind, n in sorted(outcome.met.items()))
    print(
        f"disk: seed {seed}: {total} lives, in {sum(outcome.met.values())} of them a call failed ({kinds}); "
        f"{outcome.acknowledged} acknowledged writes checked, {len(outcome.faults)} faults"
    )
    return not outcome.faults and (only is not None or sum(outcome.met.values()) > 0)


def understood(text: str) -> Trial:
    """What str() makes of a trial."""
    dialect, fsync, kind, position = text.split("/")
    what, how = kind.split(", ")
    action, error = ("short", 0) if what == "short write" else ("fail", getattr(errno, what))
    return Trial(dialect, fsync, action, error, how == "lasting", int(position))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--whole", action="store_true", help="each position in turn, as far as --seconds allows")
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--trial", help="one trial, as a fault names it")
    options = parser.parse_args()
    only = understood(options.trial) if options.trial else None
    return 0 if run(options.seconds, options.seed, options.whole, options.jobs, only) else 1


if __name__ == "__main__":
    sys.exit(main())
