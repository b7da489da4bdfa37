"""What a disk may hold after a power cut. Built from the record of the shim, entry by entry.

Model. A file has content that is certainly on the disk, and writes (and changes of size) that are not covered by a sync:

- A sync that succeeds covers the writes recorded before it began. No other moment makes anything certain.
- A sync that fails covers nothing, and no later sync covers those writes either: the pages count as clean. They are
  on the disk or not; only writing the bytes again makes them certain. Changes of size are metadata: a later sync
  covers them.
- At the cut each uncovered write is there, not there, or in part: any of its sectors of 512 or 4096 bytes. Writes are
  applied in their order, so an older one never replaces a newer one of the same place. A write that made the file
  longer can also leave zeros.

The directory has entries that are certain, and changes (create, rename, unlink) not covered by a sync of the directory. A
journaling file system keeps a first part of them. Others keep any of them: here any set in which the changes of one
name are a first part, because they are in one block. A rename happens as a whole. A failed sync of the directory
leaves its changes uncovered, and the next good one covers them: a file system that cannot write its journal stops.
A sync of a file says nothing about its entry.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import NamedTuple, Optional, Union

from shim import FLAG_IGNORED, Entry

PENDING, COVERED, FORGOTTEN = range(3)
"""Not synced; synced; a sync failed."""

POLICIES = ("drop", "keep", "torn 512", "torn 4096", "any 512", "any 4096", "zeros")
NAMES_POLICIES = ("drop", "keep", "first", "any")


class Change:
    """A write, or with `data` None a change of the size to `offset`."""

    __slots__ = ("data", "number", "offset", "state")

    def __init__(self, number: int, offset: int, data: Optional[bytes]) -> None:
        self.number = number
        self.offset = offset
        self.data = data
        self.state = PENDING


class NameChange(NamedTuple):
    number: int
    removed: str  # empty: none
    added: str
    file: File

    @property
    def names(self) -> set[str]:
        return {self.removed, self.added} - {""}


def put(content: bytearray, offset: int, data: bytes) -> None:
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


class File:
    def __init__(self, content: bytes = b"") -> None:
        self.certain = bytearray(content)
        self.changes: list[Change] = []

    def content(self) -> bytearray:
        """As programs see it."""
        content = bytearray(self.certain)
        for change in self.changes:
            if change.data is None:
                resize(content, change.offset)
            else:
                put(content, change.offset, change.data)
        return content

    def synced(self, before: int, good: bool) -> None:
        for change in self.changes:
            if change.number >= before:
                break
            if change.state == PENDING and (good or change.data is not None):
                change.state = COVERED if good else FORGOTTEN
        self._fold()

    def _fold(self) -> None:
        """Moves what is certain from the list to the content, as far as nothing uncertain is before it."""
        n = 0
        for n, change in enumerate(self.changes):
            if change.state == FORGOTTEN and self._written_again(n):
                continue
            if change.state != COVERED:
                break
            if change.data is None:
                resize(self.certain, change.offset)
            else:
                put(self.certain, change.offset, change.data)
        else:
            n = len(self.changes)
        del self.changes[:n]

    def _written_again(self, at: int) -> bool:
        """Whether what came later, and is certain, covers all of this write."""
        data = self.changes[at].data
        assert data is not None
        left = [(self.changes[at].offset, self.changes[at].offset + len(data))]
        for change in self.changes[at + 1 :]:
            if change.state != COVERED:
                continue
            start = change.offset
            end = 1 << 62 if change.data is None else start + len(change.data)
            left = [
                part
                for first, last in left
                for part in ((first, min(last, start)), (max(first, end), last))
                if part[0] < part[1]
            ]
            if not left:
                return True
        return False

    # ---- after the cut ----

    def survives(self, policy: str, forgotten: str, dice: random.Random) -> bytes:
        if not self.changes:
            return bytes(self.certain)
        content = bytearray(self.certain)
        uncovered = [change for change in self.changes if change.state == PENDING]
        last = dice.randrange(len(uncovered) + 1) if policy.startswith("torn") else -1
        torn = uncovered[last].number if 0 <= last < len(uncovered) else 1 << 62
        for change in self.changes:
            how = policy
            if change.state == COVERED:
                how = "keep"
            elif change.state == FORGOTTEN:
                how = forgotten
            elif policy.startswith("torn") and change.number != torn:
                how = "keep" if last >= len(uncovered) or change.number < torn else "drop"
            self._apply(content, change, how, dice)
        return bytes(content)

    @staticmethod
    def _apply(content: bytearray, change: Change, how: str, dice: random.Random) -> None:
        if change.data is None:
            if how == "keep" or (how != "drop" and dice.random() < 0.5):
                resize(content, change.offset)
        elif how == "keep":
            put(content, change.offset, change.data)
        elif how == "zeros":
            if dice.random() < 0.3:
                put(content, change.offset, change.data)
            elif dice.random() < 0.7 and change.offset + len(change.data) > len(content):
                resize(content, change.offset + len(change.data))
        elif how != "drop":
            _put_parts(content, change, how, dice)


def _put_parts(content: bytearray, change: Change, how: str, dice: random.Random) -> None:
    """Some sectors of a write. A file that is longer than what arrived has zeros there."""
    assert change.data is not None
    kind, size = how.split()
    sector = int(size)
    whole = dice.random()
    if kind == "any" and whole < 0.7:
        if whole < 0.35:
            put(content, change.offset, change.data)
        return
    start, end = change.offset, change.offset + len(change.data)
    first = dice.random() < 0.5
    while start < end:
        stop = min(end, (start // sector + 1) * sector)
        if dice.random() < 0.5:
            put(content, start, change.data[start - change.offset : stop - change.offset])
        elif first:
            return
        start = stop


class Disk:
    """The data directory. `number` counts the entries that were applied."""

    def __init__(self, files: Optional[dict[str, bytes]] = None) -> None:
        self.number = 0
        self.certain = {name: File(content) for name, content in (files or {}).items()}
        self.names = dict(self.certain)
        self.changes: list[NameChange] = []
        self._open: dict[int, Union[File, Disk]] = {}
        self._syncs: dict[int, tuple[Union[File, Disk], int]] = {}

    # ---- the record ----

    def apply(self, entry: Entry) -> None:
        self.number += 1
        operation = entry.operation
        if operation == "start":
            self._open.clear()
            self._syncs.clear()
        elif operation == "sync begin":
            self._syncs[entry.thread] = (self._open[entry.fd], self.number)
        elif operation == "sync":
            what, before = self._syncs.pop(entry.thread)
            if not entry.flags & FLAG_IGNORED:
                what.synced(before, entry.result == 0)
        elif entry.done:
            self._apply_done(entry)

    def _apply_done(self, entry: Entry) -> None:
        operation = entry.operation
        if operation in ("open", "create"):
            self._opened(entry)
        elif operation == "close":
            self._open.pop(entry.fd, None)
        elif operation in ("write", "truncate", "allocate"):
            file = self._open[entry.fd]
            assert isinstance(file, File)
            file.changes.append(Change(self.number, entry.offset, entry.data if operation == "write" else None))
        elif operation == "unlink":
            self._rename(entry.name, "", self.names[entry.name])
        elif operation == "rename":
            self._rename(entry.name, entry.other, self.names[entry.name])
        elif operation == "link":
            self._rename("", entry.other, self.names[entry.name])
        elif operation == "mkdir":
            raise NotImplementedError("a directory in the data directory")

    def _opened(self, entry: Entry) -> None:
        if entry.object == "directory":
            self._open[entry.fd] = self
            return
        if entry.operation == "create":
            self._rename("", entry.name, File())
        file = self.names[entry.name]
        self._open[entry.fd] = file
        if entry.offset & os.O_TRUNC:
            file.changes.append(Change(self.number, 0, None))

    def _rename(self, removed: str, added: str, file: File) -> None:
        self.changes.append(NameChange(self.number, removed, added, file))
        _change_names(self.names, self.changes[-1])

    def synced(self, before: int, good: bool) -> None:
        if not good:
            return
        for change in self.changes:
            if change.number < before:
                _change_names(self.certain, change)
        self.changes = [change for change in self.changes if change.number >= before]

    # ---- after the cut ----

    def content(self) -> dict[str, bytes]:
        return {name: bytes(file.content()) for name, file in self.names.items()}

    def survives(self, dice: random.Random) -> tuple[dict[str, bytes], str]:
        """Files after a cut now, and how they were chosen."""
        each = dice.random() < 0.3
        policy = dice.choice(POLICIES)
        of_names = dice.choice(NAMES_POLICIES)
        forgotten = dice.choice(("drop", "drop", "keep", "any 512", "any 4096", "zeros"))
        names = dict(self.certain)
        for change in self._kept_changes(of_names, dice):
            _change_names(names, change)
        files = {
            name: file.survives(dice.choice(POLICIES) if each else policy, forgotten, dice)
            for name, file in sorted(names.items())
        }
        return files, f"{'each' if each else policy}, names {of_names}, forgotten {forgotten}"

    def _kept_changes(self, policy: str, dice: random.Random) -> list[NameChange]:
        if policy == "drop":
            return []
        if policy == "first":
            return self.changes[: dice.randrange(len(self.changes) + 1)]
        kept, lost = [], set[str]()
        for change in self.changes:
            if policy == "any" and (change.names & lost or dice.random() < 0.5):
                lost |= change.names
            else:
                kept.append(change)
        return kept


def _change_names(names: dict[str, File], change: NameChange) -> None:
    if change.removed and names.get(change.removed) is change.file:
        del names[change.removed]
    if change.added:
        names[change.added] = change.file


def write_files(directory: Path, files: dict[str, bytes]) -> None:
    """Makes these the only files there."""
    for entry in os.scandir(directory):
        if entry.name not in files:
            os.unlink(entry.path)
    for name, content in files.items():
        with open(directory / name, "wb") as file:
            file.write(content)


def read_files(directory: Path) -> dict[str, bytes]:
    return {entry.name: Path(entry.path).read_bytes() for entry in os.scandir(directory)}
