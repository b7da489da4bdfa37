"""The history of a run: one event a line, as JSON. All processes run on one machine, so all times are of one clock:
CLOCK_BOOTTIME, in nanoseconds (`t`). Each process writes a file of its own, a line with one system call: what was
written stays when the process is killed.

    e: call      a client sends a request: c (client), h (its host), n (number), op, s (session), hold, fence (that the
                 client knows), reg and value
    e: ret       its answer: n, ok, code, and what was answered: fence, ms (of a lease), value
    e: told      a client is told something about a hold: what (ended, leave, lost, disconnected), code
    e: lease     a client library's own view of a hold's lease: until
    e: drop      the client leaves its connection; it goes on using the key until its lease is over
    e: exit      the process ends
    e: killed    the driver ends a client's process (c)
    e: host      the driver does something to a host: h, what
    e: renewal   a proxy has seen a renewal of its host's instance: h, sent (when it was forwarded), done (answered), ok
    e: run       the first event: term_ms, seed, slack (a factor for bounds)

A `hold` is one opening of a session by one client, from `open` until it is closed or has ended."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Event = dict[str, Any]

SECOND = 1_000_000_000
MS = 1_000_000


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Writer:
    def __init__(self, path: Path, **fixed: Any) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._fixed = fixed

    def put(self, event: str, t: int = 0, **fields: Any) -> int:
        """The time of the event."""
        t = t or now()
        os.write(self._file, json.dumps({"t": t, "e": event, **self._fixed, **fields}).encode() + b"\n")
        return t

    def close(self) -> None:
        os.close(self._file)


def read(directory: Path) -> list[Event]:
    """All events below the directory, by time. A line that a killed process did not finish is left out."""
    events = []
    for path in directory.glob("*.history"):
        for line in path.read_text().splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
    return sorted(events, key=lambda event: event["t"])
