"""What Telethon's session file has beside peers and states, kept in the session's key-value area: the display
names of entities, and sent files.

    telethon:name:DI              the name of an entity; DI are the digits of its id, the last one first
    telethon:named:HASH:ID        empty: that entity's name has this hash. Of a hash, the lowest id is first
    telethon:file:KIND:SIZE:MD5   a sent file: MessagePack of [id, access hash, file reference]

A look-up by name reads the ids of its hash, then their names, which decide: names may share a hash, and two
processes may have renamed one entity at the same time.

Names get a part of the area, so that there is room for what others keep. When it is full, new names are not
kept; a former name still goes.

The methods run in gramd's background thread, except where they say that any thread may call them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, Optional

import msgpack

from . import errors, limits
from .cache import PEERS, Generations, last_ones
from .features import KV
from .records import TEXT_MAX_BYTES, KeyValue, Peer
from .request import Outcome
from .session import Session
from .stored import warn_once

NAME, NAMED, FILE = "telethon:name:", "telethon:named:", "telethon:file:"

ID_DIGITS = 16
FIRST_ID = -(1 << 63)
HASH_BYTES = 6

NAME_BYTES = 1024
"""A longer name is not kept. Telegram's have at most half of that."""

OVERHEAD = len(NAME) + ID_DIGITS + len(NAMED) + 2 * HASH_BYTES + 1 + ID_DIGITS
"""Bytes of the area that a name takes beside its own."""

SHARE = 2
"""Names get this fraction of the area."""

SAMPLE = 200
"""Names that are read to estimate the size of all."""

CANDIDATES = 16
"""Ids of one hash that are read at once."""

LASTING = (errors.TooLarge, errors.Denied, errors.BadRequest, errors.Corrupt, errors.UnknownMethod)
"""Errors that do not pass: the bot goes on without what is kept here."""

Row = tuple[str, Optional[bytes]]

Name = tuple[int, str]
"""Of the entity with this id; an empty name stands for none."""


class Change(NamedTuple):
    """Of an entity's name; an empty one stands for none."""

    id: int
    former: bytes
    name: bytes

    @property
    def growth(self) -> int:
        return _size(self.name) - _size(self.former)

    def rows(self) -> list[Row]:
        rows: list[Row] = [(_name_key(self.id), self.name or None)]
        if self.former:
            rows.append((_named_key(self.former, self.id), None))
        if self.name:  # after the former one, which may have the same hash
            rows.append((_named_key(self.name, self.id), b""))
        return rows


class Kept:
    """Of one open session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._handled: Generations[int, str] = Generations(PEERS)  # names that need not be sent again
        self._last: Optional[asyncio.Task[None]] = None  # of the writes, which are done one after the other
        self._room: Optional[float] = None  # bytes for names until it is measured again; 0: full
        self._refused = False
        self._learn_features()
        session.listeners.add(self._changed)

    @property
    def usable(self) -> bool:
        """Any thread may ask."""
        return self._has_area and not self._refused

    # ---- names ----

    def to_send(self, rows: Sequence[Name]) -> list[Name]:
        """Those that must be sent. Any thread may ask."""
        young, peek = self._handled.young, self._handled.peek
        new = [row for row in rows if young.get(row[0]) != row[1] and peek(row[0]) != row[1]]
        return last_ones(new, rows)

    def send_names(self, rows: Sequence[Name], outcome: Outcome) -> None:
        self._handled.drop([peer_id for peer_id, _ in rows])
        self._send(self._store_names(rows), outcome)

    async def find(self, name: str) -> Optional[Peer]:
        """Of several peers with this name, the one with the lowest id."""
        wanted, session = _encoded(name), self._session
        after: Optional[str] = None
        await self._writes_are_sent()
        try:
            while wanted and (page := await session.kv_scan(_named_key(wanted), after, CANDIDATES)):
                ids = [_id(row.key[-ID_DIGITS:]) for row in page]
                names = await session.kv_get(map(_name_key, ids))
                ids = [peer_id for peer_id, found in zip(ids, names) if found == wanted]
                for peer in await session.get_peers(ids):
                    if peer is not None:
                        return peer
                after = page[-1].key
        except LASTING as error:
            self._go_without(error)
        return None

    async def _store_names(self, rows: Sequence[Name]) -> None:
        for start in range(0, len(rows), limits.ROWS):
            await self._store_some(dict(rows[start : start + limits.ROWS]))

    async def _store_some(self, names: dict[int, str]) -> None:
        cache = self._session.cache
        mark = 0 if cache is None else cache.mark()
        keys = [_name_key(peer_id) for peer_id in names]
        try:
            stored = await self._session.kv_get(keys)
        except errors.Corrupt:  # one is damaged: all are written again
            stored = [None] * len(keys)
        changes = [
            Change(peer_id, former or b"", _encoded(name))
            for (peer_id, name), former in zip(names.items(), stored)
        ]
        changes = [change for change in changes if change.name != change.former]
        try:
            await self._write(changes)
        except errors.TooLarge:  # the area is full of what others keep
            self._room = 0
            await self._write(changes)
        if cache is not None:
            for (peer_id, name), key in zip(names.items(), keys):
                if cache.untouched(key, mark):
                    self._handled.put(peer_id, name)

    async def _write(self, changes: Sequence[Change]) -> None:
        growth = sum(max(change.growth, 0) for change in changes)
        if growth and (self._room is None or 0 < self._room < growth):
            self._room = await self._measure()
        room = self._room or 0
        rows: list[Row] = []
        for change in changes:
            if change.growth > room:
                warn_once(f"session {self._session.name} has no room for further display names")
                change = change._replace(name=b"")
            room = max(room - change.growth, 0)
            if change.name != change.former:
                rows += change.rows()
        if rows:
            await self._session.kv_set(rows)
        if self._room:
            self._room = room

    async def _measure(self) -> float:
        """Room for names; of much room a part, because other processes use it, too. The size of many names is
        estimated from the first ones: the last digits of ids are spread evenly."""
        page: list[KeyValue] = []
        with contextlib.suppress(errors.Corrupt):  # the first one is damaged: nothing is known
            page = await self._session.kv_scan(NAME, None, SAMPLE)
        share = self._session.client.server["kv_max"] / SHARE
        used: float = sum(_size(row.value) for row in page)
        if len(page) == SAMPLE:
            used *= 16**ID_DIGITS / max(_number(page[-1].key[len(NAME) :]), 1)
        left = share - used
        return min(left, share / 8) if left > share / 100 else 0

    def _changed(self, what: dict[str, Any]) -> None:
        if what.get("all"):  # perhaps on a new connection
            self._learn_features()
            self._handled.clear()
            self._room = None
        keys = [key for key in what.get("kv") or () if key.startswith(NAME)]
        self._handled.drop([_id(key[: len(NAME) - 1 : -1]) for key in keys])

    # ---- files ----

    def send_files(self, rows: Sequence[Row], outcome: Outcome) -> None:
        self._send(self._store_files(rows), outcome)

    async def file(self, key: str) -> Optional[list[Any]]:
        await self._writes_are_sent()
        try:
            [value] = await self._session.kv_get([key])
        except LASTING as error:
            self._go_without(error)
            return None
        return None if value is None else _file(value)

    async def _store_files(self, rows: Sequence[Row]) -> None:
        try:
            await self._session.kv_set(rows)
        except errors.TooLarge:
            warn_once(f"session {self._session.name} has no room for further sent files")

    # ---- both ----

    def _learn_features(self) -> None:
        """Now: while the daemon is away they are not known, but names and files are still to be kept."""
        self._has_area = KV in self._session.client.features

    def _send(self, work: Coroutine[Any, Any, None], outcome: Outcome) -> None:
        def done(task: asyncio.Task[None]) -> None:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is None:
                outcome.set_result(None)
            else:
                outcome.set_exception(error)

        self._last = asyncio.ensure_future(self._after(self._last, work))
        self._last.add_done_callback(done)

    async def _after(self, before: Optional[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            await work
        except LASTING as error:
            self._go_without(error)

    async def _writes_are_sent(self) -> None:
        if self._last is not None:
            await asyncio.wait([self._last])

    def _go_without(self, error: errors.Error) -> None:
        """Until the session is opened again; what is damaged, until it is written again."""
        if isinstance(error, errors.Corrupt):
            warn_once(f"session {self._session.name} has lost a display name or sent file: {error}")
            return
        self._refused = True
        warn_once(f"session {self._session.name} keeps no display names and sent files: {error}")


def file_key(kind: int, size: int, md5: bytes) -> Optional[str]:
    """`None`: the file cannot be kept."""
    if type(md5) is not bytes:
        return None
    key = f"{FILE}{kind}:{size}:{md5.hex()}"
    return key if len(key) <= TEXT_MAX_BYTES else None


def file_row(key: str, fields: list[Any]) -> Row:
    return key, msgpack.packb(fields)


def _file(value: bytes) -> Optional[list[Any]]:
    """`None`: others have written something else there."""
    try:
        fields = msgpack.unpackb(value)
    except ValueError:
        return None
    return fields if isinstance(fields, list) else None


def _encoded(name: str) -> bytes:
    """Empty if the name cannot be kept."""
    encoded = name.encode(errors="surrogatepass")
    return encoded if len(encoded) <= NAME_BYTES else b""


def _size(name: bytes) -> int:
    """Bytes that it takes in the area."""
    return OVERHEAD + len(name) if name else 0


def _digits(peer_id: int) -> str:
    """In the order of the ids."""
    return f"{peer_id - FIRST_ID:0{ID_DIGITS}x}"


def _number(digits: str) -> int:
    """0 if others have written something else there."""
    try:
        return int(digits, 16)
    except ValueError:
        return 0


def _id(digits: str) -> int:
    return _number(digits) + FIRST_ID


def _name_key(peer_id: int) -> str:
    return NAME + _digits(peer_id)[::-1]


def _named_key(name: bytes, peer_id: Optional[int] = None) -> str:
    """Without an id: what the keys of this name begin with."""
    digest = hashlib.blake2b(name, digest_size=HASH_BYTES).hexdigest()
    return f"{NAMED}{digest}:{'' if peer_id is None else _digits(peer_id)}"
