"""The parts of a program of this folder: each runs in a directory of its own, and a fault in one does not keep the next
from running."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from daemon import Failed
from ledger import Untrue
from wire import Disconnected, Silent, WireError

Part = Callable[[Path, float, int], str]
"""Is given the daemon's directory, its seconds and the seed. Returns what it has checked."""


def arguments(about: str, seconds: float) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seconds", type=float, default=seconds, help="of all parts together")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("parts", nargs="*", help="without any, all")
    return parser.parse_args()


def run(program: str, parts: Mapping[str, Part], names: Sequence[str], seconds: float, seed: int) -> int:
    """The exit status. What was found is printed."""
    good = True
    lines = []
    for name in names or parts:
        with tempfile.TemporaryDirectory(prefix="faults.") as scratch:
            directory = Path(scratch) / "daemon"
            try:
                lines.append(f"{name}: {parts[name](directory, seconds / len(names or parts), seed)}")
                print(f"{program}: {lines[-1]}")
            except (Failed, Untrue, WireError, Disconnected, Silent, AssertionError) as failure:
                good = False
                log = directory / "gramd.log"
                print(f"{program}: FAULT: {name}: {type(failure).__name__}: {failure} (seed {seed})")
                print("\n".join((log.read_text() if log.exists() else "").splitlines()[-10:]))
    print(f"{program}: {'; '.join(lines)}" if good else f"{program}: failed")
    return 0 if good else 1
