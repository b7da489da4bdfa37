"""Writes of a synchronous library that are not saved yet.

Such a library calls its session in the bot's own event loop. A write that waited for the disk would block the
whole bot. So a write is sent at once, and only `save` waits for the answers: after it everything is on disk.
While a write is unanswered, further writes are collected and then sent together. Display names and sent files
are collected for longer.

The caller's thread adds rows; gramd's background thread sends them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Sequence
from typing import Any, Callable, Optional, TypeVar

from . import errors
from .request import TRANSIENT, Outcome
from .rows import ROWS_AT_ONCE, Row
from .session import Session
from .telethon_kept import Kept, Name

log = logging.getLogger(__name__)

T = TypeVar("T")
Table = dict[Any, Row]

KEPT_AFTER = 1.0
"""Seconds after which names and files are sent, if nothing needs them before. With each update they would
double its cost."""


class _Rows:
    """Rows by their first element: of two with the same one, the last counts."""

    def __init__(self, send: Callable[..., Any]) -> None:
        self.send = send
        self.unsent: Table = {}
        self.sent: Table = {}  # unanswered

    def put_back(self, rows: Sequence[Row]) -> None:
        """Makes rows that were not stored unsent again, except those that were written again since."""
        older = {row[0]: row for row in rows if self.sent.get(row[0]) is row}
        newer = self.unsent.copy()
        self.unsent.clear()
        self.unsent.update(older)
        self.unsent.update(newer)


class Unsaved:
    """Peers and states of one session, their display names, and sent files."""

    def __init__(self, session: Session, kept: Kept) -> None:
        self._session = session
        self._kept = kept
        self._loop = session.client.loop
        self._lock = threading.Lock()
        self._peers = _Rows(session.send_peers)
        self._states = _Rows(session.send_states)
        self._names = _Rows(kept.send_names)
        self._files = _Rows(kept.send_files)
        self._at_once = (self._peers, self._states)
        self._tables = (*self._at_once, self._names, self._files)
        self._scheduled = False  # _send_soon will run
        self._kept_scheduled = False  # _send_kept will run
        self._postponed = False  # rows are to be sent when the answers have come
        self._unanswered = 0
        self._error: Optional[BaseException] = None  # for the next outcome
        self._waiting: list[Outcome] = []  # set when no request is unanswered

    # ---- in the caller's thread ----

    def put_peers(self, rows: Sequence[Row]) -> bool:
        """False if the unsent rows fill a request: the caller must wait for `stored`."""
        self._check()
        cache, peers = self._session.cache, self._peers.unsent
        with self._lock:
            if cache is not None:
                new = cache.without_repeats(rows, peek=True)
                if peers:  # unsent rows are newer than cached ones
                    new += [row for row in rows if row[0] in peers]
                rows = new
            for row in rows:
                peers.pop(row[0], None)  # moves it to the end: a name belongs to the peer written last
                peers[row[0]] = row
            if rows:
                self._schedule()
        return len(peers) < ROWS_AT_ONCE

    def put_state(self, row: Row) -> None:
        self._check()
        with self._lock:
            self._states.unsent[row[0]] = row
            self._schedule()

    def put_names(self, rows: Sequence[Name]) -> bool:
        """As `put_peers`."""
        self._check()
        kept, names = self._kept, self._names.unsent
        if not kept.usable:
            return True
        with self._lock:
            new = kept.to_send(rows)
            if names:  # unsent names are newer
                new += [row for row in rows if row[0] in names]
            if new:
                names.update((row[0], row) for row in new)
                self._schedule_kept()
        return len(names) < ROWS_AT_ONCE

    def put_file(self, row: Row) -> None:
        self._check()
        with self._lock:
            self._files.unsent[row[0]] = row
            self._schedule_kept()

    def peer(self, peer_id: int) -> Optional[Row]:
        """The row of a peer that is not stored yet. It is newer than the cache."""
        return self._peers.unsent.get(peer_id) or self._peers.sent.get(peer_id)

    @property
    def has_unsent(self) -> bool:
        return bool(self._peers.unsent or self._states.unsent)

    def _check(self) -> None:
        if self._session.ended is not None:
            raise self._session.ended.copy()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._send_soon)

    def _schedule_kept(self) -> None:
        if not self._kept_scheduled:
            self._kept_scheduled = True
            self._loop.call_soon_threadsafe(self._loop.call_later, KEPT_AFTER, self._send_kept)

    # ---- in gramd's background thread ----

    def save(self, saved: Outcome) -> None:
        self._waiting.append(saved)
        self._send(kept=True, save=True)

    def stored(self, stored: Outcome) -> None:
        """Sets the outcome when everything that was written is on disk."""
        self._waiting.append(stored)
        self._send(kept=True)
        if not self._unanswered:
            self._answer_waiting()

    async def after_writes(self, method: Callable[..., Awaitable[T]], *args: Any, kept: bool = False) -> T:
        """Sends what is unsent, then calls `method`, whose answer includes it; names and files only with
        `kept`."""
        self._send(kept)
        return await method(*args)

    def _send_soon(self) -> None:
        with self._lock:
            self._scheduled = False
        if self._unanswered:
            self._postponed = True
        else:
            self._send()

    def _send_kept(self) -> None:
        with self._lock:
            self._kept_scheduled = False
        self._send(kept=True)

    def _send(self, kept: bool = False, save: bool = False) -> None:
        self._postponed = False
        session = self._session
        with session.client.together():
            with self._lock:
                for rows in self._tables if kept else self._at_once:
                    self._send_rows(rows)
            if save:
                self._call(session.send_save)

    def _send_rows(self, rows: _Rows) -> None:
        unsent = list(rows.unsent.values())
        rows.sent.update(rows.unsent)
        for start in range(0, len(unsent), ROWS_AT_ONCE):
            self._call(rows.send, unsent[start : start + ROWS_AT_ONCE], of=rows)
        rows.unsent.clear()  # only now: `send` has removed the rows from the cache

    def _call(self, send: Callable[..., Any], *rows: Sequence[Row], of: Optional[_Rows] = None) -> None:
        self._unanswered += 1
        outcome = Outcome(lambda done: self._answered(done.error, of, *rows))
        try:
            send(*rows, outcome=outcome)
        except errors.Error as error:  # the request cannot be sent
            self._loop.call_soon(self._answered, error, None)

    def _answered(self, error: Optional[BaseException], of: Optional[_Rows], *rows: Sequence[Row]) -> None:
        retry = of is not None and isinstance(error, TRANSIENT)
        if error is not None and (self._waiting or not retry):
            self._error = self._error or error
        if of is not None and retry:
            log.warning("session %s: the next save repeats a failed write: %s", self._session.name, error)
            with self._lock:
                of.put_back(*rows)
        elif error is not None:
            log.error("session %s: a write has failed: %s", self._session.name, error)
        self._unanswered -= 1
        if not self._unanswered:
            self._answer_waiting()

    def _answer_waiting(self) -> None:
        """Every request is answered."""
        for rows in self._tables:
            rows.sent.clear()  # peers are in the cache now
        waiting, self._waiting = self._waiting, []
        if waiting:
            error, self._error = self._error, None
            for outcome in waiting:
                if error is None:
                    outcome.set_result(None)
                else:
                    outcome.set_exception(error)
        if self._postponed:
            self._loop.call_soon(self._send)
