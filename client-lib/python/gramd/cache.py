"""The cache of a session: what this process has read and written. `changed` notifications invalidate it.

It keeps what was found, and never that something was not found. The rules:

- An answer is cached only if nothing in it was written, or reported as changed, after the request was sent.
  Answers and notifications can arrive in any order. (`mark`, `touch`, `untouched`)
- A row is removed when a write of it is sent, and cached again when the write is answered.
- A username is cached only from the daemon's own answer, and is valid only as long as that peer's entry is.
- A row that this process has just written is not sent again within REPEAT_AFTER: only its time would change.
  (`without_repeats`) It is sent if another peer has been given one of its names meanwhile, because a name
  leads to the newest row.

The storages keep references to the dictionaries in their hot paths, so a dictionary is never replaced.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Callable, Generic, Optional, TypeVar

from .records import Peer

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R", bound=Sequence[Any])

PEERS = 8192
"""Peers in each of two generations. A peer with its names takes about 0.7 kB, so a cache at most 11 MB."""

REPEAT_AFTER = 60.0
"""Seconds for which a written row is not sent again."""

USERNAME_TRUST = 600.0
"""Seconds for which the daemon's answer about a username is valid. The answer lacks the age of the row in the
usernames table, and a repeated row, which can change which peer is the newest, is not notified."""


class Generations(Generic[K, V]):
    """A bounded dictionary of two generations. When the young one is full it becomes the old one, and the
    former old one is dropped. Reading an old entry makes it young again."""

    def __init__(self, limit: int) -> None:
        self.young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._limit = limit

    def get(self, key: K) -> Optional[V]:
        value = self.young.get(key)
        if value is None and self._old:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def peek(self, key: K) -> Optional[V]:
        """Like `get`, but changes nothing, so that another thread may call it."""
        value = self.young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: K, value: V) -> None:
        if len(self.young) >= self._limit:
            self._old = self.young.copy()
            self.young.clear()
        self.young[key] = value
        if self._old:
            self._old.pop(key, None)

    def put_all(self, items: dict[K, V]) -> None:
        if len(self.young) + len(items) > self._limit:
            for key, value in items.items():
                self.put(key, value)
            return
        self.young.update(items)
        for key in self._old.keys() & items.keys():
            del self._old[key]

    def pop(self, key: K) -> Optional[V]:
        young = self.young.pop(key, None)
        old = self._old.pop(key, None) if self._old else None
        return old if young is None else young

    def some(self, keys: Iterable[K]) -> list[tuple[K, V]]:
        """The entries with these keys. Changes nothing."""
        return [(key, table[key]) for table in (self.young, self._old) for key in table.keys() & keys]

    def drop(self, keys: Iterable[K]) -> None:
        for table in (self.young, self._old):
            if table:
                for key in table.keys() & keys:
                    table.pop(key, None)

    def clear(self) -> None:
        self.young.clear()
        self._old.clear()


def last_ones(new: list[R], rows: Sequence[R]) -> list[R]:
    """Of the rows, which begin with an id, `new` are to be sent. Adds what else there is with their ids: of
    rows with one id the last counts."""
    if not new or len(new) == len(rows):
        return new
    ids = {row[0] for row in new}
    return [row for row in rows if row[0] in ids]


class Entry:
    """A cached peer. `build` belongs to the storage: it makes the library's object for this peer."""

    __slots__ = ("build", "peer", "written", "written_at")

    def __init__(self, peer: Peer, written: Optional[Sequence[Any]] = None, written_at: float = 0.0) -> None:
        self.peer = peer
        self.build: Optional[Callable[[], Any]] = None
        self.written = written  # the row that this process wrote last
        self.written_at = written_at  # time.monotonic()


class Cache:
    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.peers: Generations[int, Entry] = Generations(PEERS)
        self._names: Generations[str, tuple[Entry, float]] = Generations(PEERS)
        self._phones: Generations[str, int] = Generations(PEERS)
        self._claims: Generations[str, int] = Generations(PEERS)  # username: the last peer written with it
        self._usernames: Generations[int, tuple[tuple[str, ...], float]] = Generations(PEERS)
        self._touched: dict[Any, int] = {}  # key: serial of the last change; ids, "@name", "+phone", ".field"
        self._floor = 0  # everything counts as changed at this serial
        self._serial = 0
        self._renamed = 0  # the serial at which others last changed usernames
        self._live = False

    # ---- start and stop ----

    def start(self) -> None:
        """The daemon sends notifications from here on, so answers may be cached."""
        self._live = True

    def stop(self) -> None:
        """Notifications have ended: nothing is cached from here on."""
        self._live = False
        self.clear()

    def clear(self) -> None:
        """Drops everything, and keeps the answers under way from being cached."""
        self.fields.clear()
        for table in (self.peers, self._names, self._phones, self._claims, self._usernames):
            table.clear()
        self._touch_all()

    # ---- answers that are under way ----

    def mark(self) -> int:
        """Taken when a request is sent. Of its answer, what was touched since is not cached."""
        return self._serial

    def touch(self, keys: Iterable[Any]) -> int:
        self._serial += 1
        if len(self._touched) > 4 * PEERS:
            self._touch_all()
        self._touched.update(dict.fromkeys(keys, self._serial))
        return self._serial

    def _touch_all(self) -> None:
        self._serial += 1
        self._floor = self._serial
        self._touched.clear()

    def untouched(self, key: Any, mark: int) -> bool:
        return self._live and mark >= self._floor and self._touched.get(key, 0) <= mark

    # ---- reading: changes nothing, so that another thread may call it ----

    def by_username(self, username: str, max_age: float) -> Optional[Entry]:
        found = self._names.young.get(username)
        if found is None:
            return None
        entry, asked = found
        peer = entry.peer
        if self.peers.young.get(peer.id) is not entry:
            return None
        now = time.time()
        if not asked <= now < asked + USERNAME_TRUST:
            return None
        if max_age and abs(now - peer.last_update_on) > max_age:
            return None
        return entry

    def by_phone_number(self, phone: str) -> Optional[Entry]:
        peer_id = self._phones.young.get(phone)
        entry = None if peer_id is None else self.peers.young.get(peer_id)
        return entry if entry is not None and entry.peer.phone_number == phone else None

    # ---- answers ----

    def learn(self, peer: Peer, mark: int) -> Optional[Entry]:
        """Caches a peer from an answer of the daemon."""
        if not self.untouched(peer.id, mark):
            return None
        entry = self.peers.get(peer.id)
        if entry is not None and entry.peer[:5] == peer[:5]:
            entry.peer = peer
            return entry
        entry = Entry(peer)
        self.peers.put(peer.id, entry)
        return entry

    def learn_username(self, username: str, peer: Peer, mark: int) -> None:
        entry = self.learn(peer, mark)
        if entry is not None and self.untouched("@" + username, mark):
            self._names.put(username, (entry, time.time()))

    def learn_phone_number(self, phone: str, peer: Peer, mark: int) -> None:
        entry = self.learn(peer, mark)
        if entry is not None and self.untouched("+" + phone, mark):
            self._phones.put(phone, peer.id)

    def learn_fields(self, names: Sequence[str], values: Sequence[Any], mark: int) -> None:
        for name, value in zip(names, values):
            if self.untouched("." + name, mark):
                self.fields[name] = value

    # ---- writing ----

    def writing_peers(self, rows: Sequence[Sequence[Any]], alone: bool = False) -> int:
        """To be called when a write is sent: removes its peers. The mark is for `wrote_peers`. `alone`: no
        other answer is under way, so the peers need not be touched."""
        ids = [row[0] for row in rows]
        named = {row[3]: row[0] for row in rows if len(row) > 4 and row[3] is not None}
        called = [row[4] if len(row) > 4 else row[3] for row in rows]
        phones = [phone for phone in called if phone is not None]
        self.peers.drop(ids)
        self._phones.drop(phones)
        self._claim(named)
        if alone:
            return self.touch(())
        return self.touch([*ids, *["@" + name for name in named], *["+" + phone for phone in phones]])

    def wrote_peers(self, rows: Sequence[Sequence[Any]], mark: int) -> None:
        """To be called when the write is answered: caches its peers, except those that others wrote
        meanwhile."""
        now, since = int(time.time()), time.monotonic()
        if not self._live or self._serial != mark:  # otherwise nothing has been touched since
            rows = [row for row in rows if self.untouched(row[0], mark)]
        entries = {}
        for row in rows:
            if len(row) == 5:
                entry = Entry(Peer._make((*row, now)), row, since)
            elif len(row) == 4:
                entry = Entry(Peer._make((*row[:3], None, row[3], now)), row, since)
            else:
                entry = Entry(Peer._make(row[:6]))
            entries[row[0]] = entry
        self.peers.put_all(entries)

    def writing_usernames(self, rows: Sequence[Sequence[Any]]) -> int:
        keys: list[Any] = []
        for row in rows:
            peer_id, names = row[0], row[1]
            self._usernames.pop(peer_id)
            self._lose_names(peer_id)
            keys += (("names", peer_id), peer_id)  # an answer under way may be for a name that the peer loses
            self._claim(dict.fromkeys(names, peer_id))
            keys += ["@" + name for name in names]
        return self.touch(keys)

    def wrote_usernames(self, rows: Sequence[Sequence[Any]], mark: int) -> None:
        since = time.monotonic()
        for row in rows:
            if len(row) == 2 and mark >= self._renamed and self.untouched(("names", row[0]), mark):
                self._usernames.put(row[0], (tuple(row[1]), since))

    def setting(self, names: Iterable[str]) -> None:
        """To be called when a write of fields is sent. A data centre's address changes with it."""
        names = set(names)
        if names & {"dc_id", "test_mode"}:
            names |= {"server_address", "port"}
        for name in names:
            self.fields.pop(name, None)
        self.touch(["." + name for name in names])

    # ---- repeated writes ----

    def without_repeats(self, rows: Sequence[Sequence[Any]], peek: bool = False) -> list[Sequence[Any]]:
        """The rows that must be sent. `peek`: changes nothing, so that another thread may call it; otherwise
        the peers of all rows count as used."""
        young, find = self.peers.young, self.peers.peek if peek else self.peers.get
        since = time.monotonic() - REPEAT_AFTER
        rest = []
        for row in rows:
            entry = young.get(row[0]) or find(row[0])
            if entry is None or entry.written != row or entry.written_at <= since:
                rest.append(row)
        return last_ones(rest, rows)

    def repeats_usernames(self, peer_id: int, names: Sequence[str]) -> bool:
        found = self._usernames.get(peer_id)
        if found is None or found[0] != tuple(names) or time.monotonic() - found[1] >= REPEAT_AFTER:
            return False
        return all(self._claims.get(name) == peer_id for name in names)

    def _claim(self, named: dict[str, int]) -> None:
        self._names.drop(named)
        for name, former in self._claims.some(named):
            if former != named[name]:
                self._must_repeat(former)
        self._claims.put_all(named)

    def _lose_names(self, peer_id: int) -> None:
        """Usernames refer to the peer's entry object, so a copy of the entry has none."""
        entry = self.peers.pop(peer_id)
        if entry is not None:
            self.peers.put(peer_id, Entry(entry.peer, entry.written, entry.written_at))

    def _must_repeat(self, peer_id: int) -> None:
        entry = self.peers.get(peer_id)
        if entry is not None:
            entry.written = None
        self._usernames.pop(peer_id)

    # ---- changes by others ----

    def changed(self, what: dict[str, Any]) -> None:
        if what.get("all"):
            self.clear()
            return
        keys: list[Any] = []
        for peer_id in what.get("peers") or ():
            self.peers.pop(peer_id)
            keys.append(peer_id)
        for name in what.get("usernames") or ():
            self._names.pop(name)
            former = self._claims.pop(name)
            if former is not None:
                self._must_repeat(former)
            keys.append("@" + name)
        for phone in what.get("phones") or ():
            self._phones.pop(phone)
            keys.append("+" + phone)
        for field in what.get("fields") or ():
            self.fields.pop(field, None)
            keys.append("." + field)
        keys += what.get("kv") or ()  # for whoever keeps such values
        self.touch(keys)
        if what.get("usernames"):  # the notification does not say which peers had or have them
            self._usernames.clear()
            self._renamed = self._serial
