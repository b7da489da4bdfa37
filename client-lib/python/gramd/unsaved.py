"""What a synchronous library has written and not saved yet.

Such a library calls its session in the bot's own event loop: a write that waited for the disk would keep the
whole bot waiting. So a write leaves at once, and nobody waits for its answer before `save`: when that has
returned, all that was written is on disk. While one is unanswered, others gather and leave together.

The caller's thread writes, gramd's own sends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Sequence
from typing import Any, Callable, Optional, TypeVar

from . import errors
from .request import TRANSIENT, Outcome
from .session import Session

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = Sequence[Any]
Table = dict[int, Row]

ROWS_AT_ONCE = 5000
"""In one request; and who writes while that many wait to be sent has to wait too."""


class _Rows:
    """By their ids: of what is written twice, only the last counts."""

    def __init__(self) -> None:
        self.new: Table = {}  # to be sent
        self.sent: Table = {}  # being stored

    def put_back(self, rows: Sequence[Row]) -> None:
        """What was not stored, where nothing was written since."""
        older = {row[0]: row for row in rows if self.sent.get(row[0]) is row}
        newer = self.new.copy()
        self.new.clear()
        self.new.update(older)
        self.new.update(newer)


class Unsaved:
    """Peers and states of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._loop = session.client.loop
        self._lock = threading.Lock()
        self._peers = _Rows()
        self._states = _Rows()
        self._scheduled = False
        self._held = False  # it is time, but an answer is still to come
        self._unanswered = 0
        self._error: Optional[BaseException] = None  # that the next who waits is told
        self._waiting: list[Outcome] = []

    # ---- in the caller's thread ----

    def put_peers(self, rows: Sequence[Row]) -> bool:
        """False: too much waits to be sent already, so wait for `sent`."""
        self._check()
        cache, peers = self._session.cache, self._peers.new
        with self._lock:
            if cache is not None:
                new = cache.unwritten(rows, peek=True)
                if peers:  # what waits here is newer than what is known there
                    new += [row for row in rows if row[0] in peers]
                rows = new
            for row in rows:
                peers.pop(row[0], None)  # the last one written has the names
                peers[row[0]] = row
            if rows:
                self._schedule()
        return len(peers) < ROWS_AT_ONCE

    def put_state(self, row: Row) -> None:
        self._check()
        with self._lock:
            self._states.new[row[0]] = row
            self._schedule()

    def peer(self, peer_id: int) -> Optional[Row]:
        """As it was written; to be asked before the cache."""
        return self._peers.new.get(peer_id) or self._peers.sent.get(peer_id)

    @property
    def waits(self) -> bool:
        return bool(self._peers.new or self._states.new)

    def _check(self) -> None:
        if self._session.ended is not None:
            raise self._session.ended.again()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._due)

    # ---- in gramd's thread ----

    def save(self, saved: Outcome) -> None:
        self._waiting.append(saved)
        self._send(save=True)

    def sent(self, sent: Outcome) -> None:
        """All that was written is on disk then."""
        self._waiting.append(sent)
        self._send()
        if not self._unanswered:
            self._tell()

    async def behind(self, method: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Asks for something that is to see what was written."""
        self._send()
        return await method(*args)

    def _due(self) -> None:
        with self._lock:
            self._scheduled = False
        if self._unanswered:
            self._held = True
        else:
            self._send()

    def _send(self, save: bool = False) -> None:
        self._held = False
        session = self._session
        with session.client.together():
            with self._lock:
                self._send_rows(session.send_peers, self._peers)
                self._send_rows(session.send_states, self._states)
            if save:
                self._ask(session.send_save)

    def _send_rows(self, send: Callable[..., Any], rows: _Rows) -> None:
        new = list(rows.new.values())
        rows.sent.update(rows.new)
        for start in range(0, len(new), ROWS_AT_ONCE):
            self._ask(send, new[start : start + ROWS_AT_ONCE], of=rows)
        rows.new.clear()  # behind the cache, which has forgotten them

    def _ask(self, send: Callable[..., Any], *rows: Sequence[Row], of: Optional[_Rows] = None) -> None:
        self._unanswered += 1
        outcome = Outcome(lambda done: self._answered(done.error, of, *rows))
        try:
            send(*rows, outcome=outcome)
        except errors.Error as error:  # it cannot be asked at all
            self._loop.call_soon(self._answered, error, None)

    def _answered(self, error: Optional[BaseException], of: Optional[_Rows], *rows: Sequence[Row]) -> None:
        again = of is not None and isinstance(error, TRANSIENT)
        if error is not None and (self._waiting or not again):
            self._error = self._error or error
        if of is not None and again:
            log.warning("session %s: not stored until the next save: %s", self._session.name, error)
            with self._lock:
                of.put_back(*rows)
        elif error is not None:
            log.error("session %s: what was written is not stored: %s", self._session.name, error)
        self._unanswered -= 1
        if not self._unanswered:
            self._tell()

    def _tell(self) -> None:
        """All that was sent is answered."""
        self._peers.sent.clear()  # the cache knows them now
        self._states.sent.clear()
        waiting, self._waiting = self._waiting, []
        if waiting:
            error, self._error = self._error, None
            for outcome in waiting:
                if error is None:
                    outcome.set_result(None)
                else:
                    outcome.set_exception(error)
        if self._held:
            self._loop.call_soon(self._send)
