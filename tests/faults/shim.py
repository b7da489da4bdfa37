"""The shim (shim.h) from outside: what it is told to do to the daemon's calls, and what it has recorded.

    shim = Shim(directory, data, record=True)
    daemon = Daemon(directory, preload=shim.preload, environment=shim.environment)
    rule = shim.rule(("sync",), ("log",), "fail", errno.EIO, skip=3, times=1)
    ...
    rule.met, rule.clear(), for entry in shim.entries(): ...
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Optional, Union

OPERATIONS = (
    "open",
    "create",
    "write",
    "truncate",
    "allocate",
    "sync",
    "unlink",
    "rename",
    "link",
    "mkdir",
    "close",
    "read",
    "sync begin",
    "accept",
    "send",
    "start",
)
OBJECTS = ("db", "log", "journal", "shm", "fresh", "directory", "other")
ACTIONS = ("fail", "short", "delay", "ignore", "kill", "late", "swallow")

CALLS = OPERATIONS[: OPERATIONS.index("sync begin")]
"""What a rule can meet."""

CHANGES = tuple(call for call in CALLS if call not in ("open", "close", "read"))
"""Those that change a file or the directory, and syncs."""

FLAG_INJECTED = 1
FLAG_IGNORED = 2
"""Reported as done, but not done."""
FLAG_DONE = 4
"""Reported as failed, but done."""

_CONTROL = struct.Struct("=QQ48x")
_RULE = struct.Struct("=IIIIQQQQQQ64s")
_COUNTS = struct.Struct("=QQ")
_COUNTS_AT = _RULE.size - 64 - _COUNTS.size
_ENTRY = struct.Struct("=IHHQqqiiIIII")
_N_RULES = 16


class Entry(NamedTuple):
    operation: str
    object: str
    time_ns: int  # CLOCK_MONOTONIC
    offset: int  # of a write; the size of truncate and allocate; the flags of open
    result: int
    error: int  # errno, 0: success
    fd: int
    flags: int
    name: str  # in the data directory; of a rename: the old one
    other: str  # of a rename or a link: the new one
    data: bytes
    thread: int

    @property
    def done(self) -> bool:
        return (self.result >= 0 and not self.flags & FLAG_IGNORED) or bool(self.flags & FLAG_DONE)


def _bits(names: Sequence[str], known: Sequence[str]) -> int:
    return sum(1 << known.index(name) for name in names)


class Rule:
    def __init__(self, memory: mmap.mmap, at: int) -> None:
        self._memory = memory
        self._at = at

    def clear(self) -> None:
        self._memory[self._at : self._at + 4] = b"\0\0\0\0"

    @property
    def seen(self) -> int:
        """Calls that it could meet."""
        return int(_COUNTS.unpack_from(self._memory, self._at + _COUNTS_AT)[0])

    @property
    def met(self) -> int:
        return int(_COUNTS.unpack_from(self._memory, self._at + _COUNTS_AT)[1])


class Shim:
    def __init__(self, directory: Path, data: Path, record: bool = False, record_bytes: int = 4 << 30) -> None:
        """`data` need not exist yet. Control and record are files in `directory`; the record is sparse."""
        directory.mkdir(parents=True, exist_ok=True)
        self._record: Optional[mmap.mmap] = None
        self.preload = [Path(os.environ["BUILD"]) / "tests/faults/shim.so"]
        self.environment = {"GRAMD_SHIM": str(directory / "shim.control"), "GRAMD_SHIM_DATA": str(data.resolve())}
        size = _CONTROL.size + _N_RULES * _RULE.size
        self._control = self._map(directory / "shim.control", size)
        self._rules = 0
        if record:
            self._record = self._map(directory / "shim.record", record_bytes)
            self.environment["GRAMD_SHIM_RECORD"] = str(directory / "shim.record")

    @staticmethod
    def _map(path: Path, size: int) -> mmap.mmap:
        with open(path, "w+b") as file:
            file.truncate(size)
            memory = mmap.mmap(file.fileno(), size)
        memory.madvise(mmap.MADV_DONTFORK)  # a start of the daemon does not copy its page tables
        return memory

    def close(self) -> None:
        self._control.close()
        if self._record is not None:
            self._record.close()

    # ---- what is to happen ----

    def rule(
        self,
        operations: Sequence[str],
        objects: Sequence[str],
        action: str,
        argument: int = 0,
        *,
        skip: int = 0,
        times: int = 0,
        seconds: float = 0.0,
        name: str = "",
    ) -> Rule:
        """`argument`: the errno, the bytes of a short write, the milliseconds of a delay. The first `skip` calls are let
        pass, then `times` are met (0: all), for `seconds` (0: without end). `name`: a part of the file's name; of
        a rename the new one."""
        assert action != "late" or tuple(operations) == ("write",)
        for number in range(_N_RULES):
            at = _CONTROL.size + (self._rules + number) % _N_RULES * _RULE.size
            if self._control[at : at + 4] == b"\0\0\0\0":
                break
        else:
            raise RuntimeError("too many rules")
        self._rules += 1
        until = time.monotonic_ns() + int(seconds * 1e9) if seconds else 0
        bits = (_bits(operations, OPERATIONS), _bits(objects, OBJECTS), ACTIONS.index(action))
        packed = _RULE.pack(0, *bits, skip, times, until, argument, 0, 0, name.encode())
        self._control[at : at + len(packed)] = packed
        self._control[at : at + 4] = struct.pack("=I", 1)
        return Rule(self._control, at)

    @property
    def n_calls(self) -> int:
        """All that a rule could have met, reads included."""
        return int(_CONTROL.unpack_from(self._control)[1])

    # ---- what was recorded ----

    @property
    def record_bytes(self) -> int:
        return int(_CONTROL.unpack_from(self._control)[0])

    def entries(self) -> Iterator[Entry]:
        assert self._record is not None
        return entries_of(self._record, self.record_bytes)

    def save(self, path: Path) -> None:
        """The record, for entries_of()."""
        assert self._record is not None
        path.write_bytes(self._record[: self.record_bytes])


def entries_of(record: Union[bytes, mmap.mmap], end: int) -> Iterator[Entry]:
    at = 0
    while at < end:
        size, operation, kind, when, offset, result, error, fd, flags, n_name, n_data, thread = _ENTRY.unpack_from(
            record, at
        )
        names_at = at + _ENTRY.size
        data_at = names_at + n_name
        name, _, other = record[names_at:data_at].decode().partition("\0")
        data = record[data_at : data_at + n_data]
        yield Entry(
            OPERATIONS[operation], OBJECTS[kind], when, offset, result, error, fd, flags, name, other, data, thread
        )
        at += size
