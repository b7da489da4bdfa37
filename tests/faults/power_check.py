"""What must be in the sessions after a power cut, and what must not.

What is promised for a cut, by the daemon's option `fsync`:

    always    every write that was answered
    everysec  every write that was answered more than a second ago, plus the time that syncs of its session took since
    no        the same with 30 seconds

In each mode: `set`, imports and `save` that were answered, and everything that was answered before on that session; a
session that `open` has made; a deletion. Besides, everything of a session whose file the daemon has closed, unless
the last sync of its log failed.

In each mode, of all writes, promised or not: the writes of one client are there up to some point, in their order, each
whole or not at all; a write that has been refused is not there, unless the answer was `unavailable`.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import Any, NamedTuple, Optional

import msgpack

from power_load import FIELDS, NOT_DONE, Journal, Key, Life, Request
from shim import Entry

SECOND = 1_000_000_000
SLACK_NS = SECOND // 2
"""For a busy machine: how much later than promised a sync may begin, besides what was measured."""
WINDOW_NS = {"everysec": SECOND, "no": 30 * SECOND}
FLUSHES = ("set", "import_string", "save")

Found = dict[Key, Any]

NEW: Found = {("field", "dc_id"): 2}
"""What a new session has; all else is nil or not there."""


class Sync(NamedTuple):
    begin_ns: int
    end_ns: int


class History:
    """What the record says of the answers, the syncs and the ends of the sessions."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._streams: dict[int, msgpack.Unpacker] = {}
        self._begun: dict[tuple[str, int], int] = {}
        self._outage: dict[str, int] = {}
        """Logs whose sync has failed, and that no sync has put on the disk since. After a kill, all logs."""
        self.syncs: dict[str, list[Sync]] = {}
        self.closed: dict[str, list[int]] = {}
        """After how many entries of the record its file was closed, in order."""
        self._deleted: set[str] = set()
        self.headers: dict[str, bytes] = {}
        """Bytes 18 and 19 of each session's first file: its journal mode."""
        self._fresh: dict[str, bytes] = {}
        self.times: list[int] = []
        self.interesting: list[int] = []
        self.failed_syncs: list[int] = []
        self.refusals: list[int] = []

    def add(self, entry: Entry) -> None:
        self.times.append(entry.time_ns)
        n = len(self.times)
        operation = entry.operation
        if operation == "start":
            self._begun.clear()
            for name in self.syncs:
                self._outage.setdefault(f"{name}.session-wal", self.times[max(n - 2, 0)])
        elif operation == "accept":
            self._streams[entry.fd] = msgpack.Unpacker(raw=False, strict_map_key=False)
        elif operation == "send":
            self._sent(entry, n)
        elif operation in ("sync begin", "sync"):
            self._synced(entry, n)
        elif operation == "write" and entry.object == "fresh" and entry.offset == 0:
            self._fresh[entry.name] = entry.data[18:20]
        elif operation == "rename":
            self.headers[entry.other] = self._fresh[entry.name]
            self._deleted.discard(entry.other)
        elif operation == "unlink":
            self._deleted.add(entry.name)
        elif operation == "close" and entry.object == "db" and self._is_whole(entry.name):
            self.closed.setdefault(_session_of(entry.name), []).append(n)
        if operation not in ("send", "write", "open", "accept", "close"):
            self.interesting.append(n - 1)

    def _is_whole(self, file: str) -> bool:
        """The session has not been deleted, and its log has no bytes that a failed sync should have covered."""
        return file not in self._deleted and f"{file}-wal" not in self._outage

    def _sent(self, entry: Entry, n: int) -> None:
        stream = self._streams[entry.fd]
        stream.feed(entry.data)
        for message in stream:
            if message[0] != 1 or message[1] not in self._journal.requests:
                continue
            request = self._journal.requests[message[1]]
            request.code = message[2][0] if message[2] else ""
            if request.method == "kv_swap" and message[3] and not message[3][0]:
                request.code = NOT_DONE
            request.answered = n
            request.answered_ns = entry.time_ns
            if request.code == "storage":
                self.refusals.append(n)

    def _synced(self, entry: Entry, n: int) -> None:
        """A sync that fails takes until one succeeds."""
        key = (entry.name, entry.thread)
        if entry.operation == "sync begin":
            self._begun[key] = entry.time_ns
            return
        begin = self._begun.pop(key)
        if entry.result != 0:
            if entry.object == "log":
                self._outage.setdefault(entry.name, begin)
            self.failed_syncs.append(n)
            return
        begin = self._outage.pop(entry.name, begin)
        self.syncs.setdefault(_session_of(entry.name), []).append(Sync(begin, entry.time_ns))

    def finish(self, now_ns: int) -> None:
        for name, begin in self._outage.items():
            self.syncs.setdefault(_session_of(name), []).append(Sync(begin, now_ns))

    def syncing_ns(self, session: str, since: int, until: int) -> int:
        """The time that syncs of its files took between these."""
        total = 0
        for sync in reversed(self.syncs.get(session, [])):
            total += max(0, min(sync.end_ns, until) - max(sync.begin_ns, since))
        return total


def _session_of(file: str) -> str:
    return file.rpartition(".session")[0]


class Cut(NamedTuple):
    at: int
    """So many entries of the record are before it."""
    time_ns: int


class Checker:
    def __init__(self, journal: Journal, history: History, fsync: str, late_ns: int) -> None:
        self._journal = journal
        self._history = history
        self._fsync = fsync
        self._slack_ns = SLACK_NS + late_ns
        self.n_checked = 0
        """Promised writes that were looked for."""

    # ---- what is promised ----

    def _promised(self, request: Request, cut: Cut, closed: int, flushed_ns: int) -> bool:
        """`closed`, `flushed_ns`: what was answered before is on the disk."""
        if not request.succeeded_before(cut.at):
            return False
        if self._fsync == "always" or request.answered < closed or request.answered_ns < flushed_ns:
            return True
        if request.method in FLUSHES:
            return True
        age = cut.time_ns - request.answered_ns - WINDOW_NS[self._fsync] - self._slack_ns
        if age < 0:
            return False
        return age > self._history.syncing_ns(request.life.session, request.answered_ns, cut.time_ns)

    def _last_promised(self, writes: list[Request], cut: Cut, closed: int, flushed_ns: int) -> int:
        """The number of the last write that must be there, or -1."""
        last = -1
        for request in writes:
            if self._promised(request, cut, closed, flushed_ns):
                self.n_checked += 1
                last = request.number
        return last

    # ---- one client's part of a session ----

    def _writes(self, writes: list[Request], cut: Cut, closed: int, flushed_ns: int, found: Found) -> list[str]:
        sent = [request for request in writes if request.sent_ns <= cut.time_ns]
        by_key: dict[Key, list[Request]] = {}
        for request in sent:
            for key in request.effects:
                by_key.setdefault(key, []).append(request)
        places: dict[Key, list[int]] = {}
        problems: list[str] = []
        for key, touching in by_key.items():
            places[key] = self._places(key, touching, found.get(key), cut, problems)
        due = self._last_promised(sent, cut, closed, flushed_ns)
        moved = True
        while moved:
            moved = False
            for key, at in places.items():
                if not at:
                    continue
                held = next((place for place in at if not self._missed(key, by_key[key], place, due)), None)
                if held is None:
                    problems.append(self._lost(key, by_key[key], found.get(key), at[0], due))
                    at.clear()
                elif held > due:
                    due = held
                    moved = True
        problems += self._torn(sent, places)
        return problems

    @staticmethod
    def _places(key: Key, touching: list[Request], value: Any, cut: Cut, problems: list[str]) -> list[int]:
        """The numbers of the writes after which the key has this value. -1: before all."""
        places = [-1] if value == NEW.get(key) else []
        refused: list[int] = []
        for request in touching:
            if request.effects[key] == value:
                (places if request.may_have_happened(cut.at) else refused).append(request.number)
        if not places:
            what = f"refused: {touching[0].life.writes[touching[0].client][refused[0]]}" if refused else "never written"
            problems.append(f"{key} is {_brief(value)}, {what}")
        return places

    @staticmethod
    def _missed(key: Key, touching: list[Request], held: int, due: int) -> Optional[Request]:
        """The first write after that one that must be there too, and would have given the key another value."""
        value = touching[0].life.writes[touching[0].client][held].effects[key] if held >= 0 else NEW.get(key)
        for request in touching:
            if held < request.number <= due and request.code == "" and request.effects[key] != value:
                return request
        return None

    def _lost(self, key: Key, touching: list[Request], value: Any, held: int, due: int) -> str:
        missed = self._missed(key, touching, held, due)
        assert missed is not None
        return (
            f"{key} is {_brief(value)}, from write {held}; all up to {due} must be there; "
            f"{missed!r} is not: {_brief(missed.effects[key])}"
        )

    @staticmethod
    def _torn(sent: list[Request], places: dict[Key, list[int]]) -> list[str]:
        """A write that can be seen by one key must be seen, or replaced, by the others."""
        seen = {at[0] for at in places.values() if len(at) == 1 and at[0] >= 0}
        for number in seen:
            for key in sent[number].effects:
                if places[key] and places[key][-1] < number:
                    return [f"{sent[number]!r} is there in part: not {key}"]
        return []

    # ---- a session ----

    def _life(self, life: Life, cut: Cut, found: Found) -> list[str]:
        ends = self._history.closed.get(life.session, [])
        place = bisect.bisect_right(ends, cut.at)
        closed = ends[place - 1] if place else 0
        problems = []
        requests = [request for writes in life.writes.values() for request in writes]
        flushes = (each for each in requests if each.method in FLUSHES and each.succeeded_before(cut.at))
        flushed_ns = max((request.sent_ns for request in flushes), default=0)
        for writes in life.writes.values():
            problems += self._writes(writes, cut, closed, flushed_ns, found)
        known = {key for request in requests for key in request.effects}
        return problems + [
            f"{key} is {_brief(value)}, and was never written"
            for key, value in found.items()
            if key not in known and value is not None and key[0] != "field"
        ]

    def _first_life(self, lives: list[Life], cut: Cut) -> tuple[int, bool]:
        """The first of the session's lives that it can be in, and whether the session must be there."""
        first, stays = 0, False
        for number, life in enumerate(lives):
            opened_ns = max((each.sent_ns for each in life.opens if each.succeeded_before(cut.at)), default=0)
            if opened_ns:
                first, stays = number, True
            for request in life.deletes:
                self.n_checked += request.succeeded_before(cut.at)
                if opened_ns < request.sent_ns <= cut.time_ns and request.may_have_happened(cut.at):
                    stays = False
                if request.succeeded_before(cut.at):
                    first = number + 1
        return first, stays

    def session(self, name: str, cut: Cut, found: Optional[Found]) -> list[str]:
        """`found`: None where there is no such session."""
        lives = self._journal.lives[name]
        first, stays = self._first_life(lives, cut)
        if found is None:
            return ["there is no such session"] if stays else []
        best: Optional[list[str]] = None
        for life in lives[first:]:
            if not any(request.sent_ns <= cut.time_ns for request in life.opens):
                continue
            checked = self.n_checked
            if any(request.code == "unavailable" and request.sent_ns <= cut.time_ns for request in life.deletes):
                return []  # deleted, but a power cut may bring its file back, without its log
            problems = self._life(life, cut, found)
            if not problems:
                return []
            self.n_checked = checked
            if best is None or len(problems) < len(best):
                best = problems
        return best if best is not None else ["deleted, and there again"]


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def found_in(fields: Iterable[Any], peers: list[Any], names: list[Any], states: list[Any], values: list[Any]) -> Found:
    """Of the answers of get, scan_peers, scan_usernames, get_states and kv_scan."""
    found: Found = {("field", name): value for name, value in zip(FIELDS, fields, strict=True)}
    for row in peers:
        found["peer", row[0]] = tuple(row)
    for row in states:
        found["state", row[0]] = tuple(row)
    for key, value in values:
        found["value", key] = value
    for name, id, _ in names:
        found["names", id] = (*found.get(("names", id), ()), name)
    return found
