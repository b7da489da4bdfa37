"""Reads a history and says what is wrong in it. `checker.py DIRECTORY` does so for a history that was kept."""

from __future__ import annotations

import sys
from pathlib import Path

import history
from faults import Fault
from holds import World, understand
from leases import check_late_success, check_overlaps, check_told
from values import check_values

CHECKS = (check_overlaps, check_late_success, check_told, check_values)


def check(world: World) -> list[Fault]:
    return sorted((fault for each in CHECKS for fault in each(world)), key=lambda fault: fault.t)


def main() -> int:
    from report import summary

    events = history.read(Path(sys.argv[1]))
    world = understand(events)
    faults = check(world)
    for fault in faults:
        print(f"{(fault.t - events[0]['t']) / 1e9:8.3f} s  {fault}")
    print(summary(world, faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
