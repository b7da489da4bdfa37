"""What this process knows of a session: answers that were read or written here, kept right by `changed`.

Only hits are kept; whoever finds nothing here asks the daemon. The rules:

- An answer is kept only if nothing that it tells of was written, or reported as changed, since it was asked
  for (`mark`, `touch`, `untouched`): answers and notifications may overtake one another.
- What is being written is forgotten when the write is sent, and known again when it is answered.
- A username leads to a peer only if the daemon said so, and only while that very row is known.
- A row that this process has just written need not be written again (`unwritten`): only its time would move,
  and a minute matters to nobody. It does need to be when somebody else has claimed one of its names
  meanwhile, because the newest row is the one that a name leads to.

Dictionaries are read in the hot paths of the storages, so they keep their identity for the life of the cache.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Callable, Generic, Optional, TypeVar

from .records import Peer

K = TypeVar("K")
V = TypeVar("V")

PEERS = 8192
"""In each of two generations; a peer with its names takes about 0.7 kB, so a session 11 MB at most."""

REPEAT_AFTER = 60.0
"""Seconds for which a row that was written is not written again."""

USERNAME_TRUST = 600.0
"""Seconds for which the daemon's answer about a username is taken for granted: the age of a row of the
usernames table is not told, and another process may have refreshed one of several holders of a name."""


class Generations(Generic[K, V]):
    """A bounded dictionary: what was not used while `limit` others came is forgotten."""

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
        """As `get`, but nothing is counted as used: another thread may ask."""
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
        """What there is of these; nothing is counted as used."""
        return [(key, table[key]) for table in (self.young, self._old) for key in table.keys() & keys]

    def drop(self, keys: Iterable[K]) -> None:
        for table in (self.young, self._old):
            if table:
                for key in table.keys() & keys:
                    table.pop(key, None)

    def clear(self) -> None:
        self.young.clear()
        self._old.clear()


class Entry:
    """A peer that is known. `build` is the storage's: what makes its answer, once that was asked for."""

    __slots__ = ("build", "peer", "written", "written_at")

    def __init__(self, peer: Peer, written: Optional[Sequence[Any]] = None, written_at: float = 0.0) -> None:
        self.peer = peer
        self.build: Optional[Callable[[], Any]] = None
        self.written = written  # the row as this process wrote it last
        self.written_at = written_at


class Cache:
    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.peers: Generations[int, Entry] = Generations(PEERS)
        self._names: Generations[str, tuple[Entry, float]] = Generations(PEERS)
        self._phones: Generations[str, int] = Generations(PEERS)
        self._claims: Generations[str, int] = Generations(PEERS)  # name: who was last said to have it
        self._usernames: Generations[int, tuple[tuple[str, ...], float]] = Generations(PEERS)
        self._touched: dict[Any, int] = {}
        self._floor = 0
        self._serial = 0
        self._renamed = 0  # when others last gave or took a name
        self._live = False

    # ---- whether it may be used ----

    def start(self) -> None:
        """The daemon tells of changes from here on."""
        self._live = True

    def stop(self) -> None:
        """It does not any more: forget everything, and what is being asked for too."""
        self._live = False
        self.forget()

    def forget(self) -> None:
        self.fields.clear()
        for table in (self.peers, self._names, self._phones, self._claims, self._usernames):
            table.clear()
        self._touch_all()

    # ---- answers that are under way ----

    def mark(self) -> int:
        """Taken when a question is sent; its answer is kept only where nothing was touched since."""
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

    # ---- reading: changes nothing, so that another thread may do it ----

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
        """A peer that the daemon answered with."""
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
        """Peers are being written: forget them. The mark goes to `wrote_peers`. `alone`: no answer is under
        way that could tell of them."""
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
        """They have been written: known again, where nobody else wrote them meanwhile."""
        now, since = int(time.time()), time.monotonic()
        if not self._live or self._serial != mark:  # else nothing has been touched since
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
            keys += (("names", peer_id), peer_id)  # an answer under way may come by a name that it loses
            self._claim(dict.fromkeys(names, peer_id))
            keys += ["@" + name for name in names]
        return self.touch(keys)

    def wrote_usernames(self, rows: Sequence[Sequence[Any]], mark: int) -> None:
        since = time.monotonic()
        for row in rows:
            if len(row) == 2 and mark >= self._renamed and self.untouched(("names", row[0]), mark):
                self._usernames.put(row[0], (tuple(row[1]), since))

    def setting(self, names: Iterable[str]) -> None:
        """Fields are being written; an address follows its data centre."""
        names = set(names)
        if names & {"dc_id", "test_mode"}:
            names |= {"server_address", "port"}
        for name in names:
            self.fields.pop(name, None)
        self.touch(["." + name for name in names])

    # ---- repeated writes ----

    def unwritten(self, rows: Iterable[Sequence[Any]], peek: bool = False) -> list[Sequence[Any]]:
        """Those of the rows that this process has not just written, or that do not stand any more. The peers
        of the others are in use, unless one only peeks: that changes nothing."""
        young, find = self.peers.young, self.peers.peek if peek else self.peers.get
        since = time.monotonic() - REPEAT_AFTER
        rest = []
        for row in rows:
            entry = young.get(row[0]) or find(row[0])
            if entry is None or entry.written != row or entry.written_at <= since:
                rest.append(row)
        return rest

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
        """Names lead to the very entry that is known, so a copy of it has none."""
        entry = self.peers.pop(peer_id)
        if entry is not None:
            self.peers.put(peer_id, Entry(entry.peer, entry.written, entry.written_at))

    def _must_repeat(self, peer_id: int) -> None:
        entry = self.peers.get(peer_id)
        if entry is not None:
            entry.written = None
        self._usernames.pop(peer_id)

    # ---- what others did ----

    def changed(self, what: dict[str, Any]) -> None:
        if what.get("all"):
            self.forget()
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
        self.touch(keys)
        if what.get("usernames"):  # it is not said whose they are
            self._usernames.clear()
            self._renamed = self._serial
