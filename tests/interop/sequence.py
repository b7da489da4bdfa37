"""A seeded sequence of calls like those of a client, and its replay on a storage.

The results on gramd's storage and on a library's own are compared call by call. So the sequence avoids what the
own storages leave undefined, or do differently for a reason:

- `None` for `dc_id` and `date`. SQLite raises IntegrityError, gramd `bad_request`. No client does it.
- A name on two peers at a time. Two rows of the same second have no defined order. A name moves as in Telegram:
  its former peer is written without it first.
- In Electrogram, usernames of channels with their bare id: the own storage never finds them. And lookups before
  the first `update_usernames`: they fail, because that call creates the table.
- In Irenogram and Kurigram, a change of the data centre without one of the address: the own storages keep the
  old address. Clients set both, and so does the sequence.
- The order of Pyrofork's update states, which is undefined.
- Closing without `save`: the own storages of Pyrogram, Irenogram and Kurigram lose unsaved peers.
"""

from __future__ import annotations

import random
import sqlite3
from typing import Any

import library

Call = tuple[str, tuple[Any, ...]]
TYPES = ["user", "bot", "group", "channel", "supergroup"]


class World:
    """The state in Telegram. Each name and number belongs to one peer at a time."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.peers: dict[int, dict[str, Any]] = {}

    def peer_id(self) -> int:
        n = self.random.randrange(1, 30)
        return self.random.choice([n, -n, -1000000000000 - n])

    def any_id(self) -> int:
        return self.random.choice([*self.peers, self.peer_id()])

    def meet(self) -> list[Call]:
        """Some peers are seen again, changed or unchanged."""
        touched: dict[int, None] = {}
        for _ in range(self.random.randrange(4)):
            peer_id = self.peer_id()
            known = self.peers.get(peer_id)
            if known is not None and self.random.random() < 0.5:
                touched[peer_id] = None
                continue
            if peer_id > 0:
                kind = self.random.choice(["user", "bot"])
            else:
                kind = "group" if peer_id > -1000000000000 else self.random.choice(["channel", "supergroup"])
                if library.ADDRESS and peer_id < -1000000000000 and self.random.random() < 0.3:
                    kind = self.random.choice(["direct", "forum"])
            if self.random.random() < 0.03:
                kind = "a type of tomorrow"
            names = [f"name{self.random.randrange(25)}" for _ in range(self.random.randrange(3))]
            if library.NAME == "electrogram" and peer_id < 0:
                names = names[:1]
            phone = f"49{self.random.randrange(20)}" if peer_id > 0 and self.random.random() < 0.4 else None
            for other_id, other in self.peers.items():
                if other_id != peer_id and (
                    set(other["names"]) & set(names) or (phone and other["phone"] == phone)
                ):
                    other["names"] = [name for name in other["names"] if name not in names]
                    other["phone"] = None if other["phone"] == phone else other["phone"]
                    touched = {other_id: None, **touched}
            access_hash = self.random.choice(
                [0, None, 5, -(1 << 63), (1 << 63) - 1, self.random.getrandbits(62)]
            )
            self.peers[peer_id] = {"hash": access_hash, "type": kind, "names": names, "phone": phone}
            touched.pop(peer_id, None)
            touched[peer_id] = None
        rows, names = [], []
        for peer_id in touched:
            peer = self.peers[peer_id]
            head = (peer_id, peer["hash"], peer["type"])
            if library.NAMES_IN_ROWS:
                rows.append((*head, list(peer["names"]) or None, peer["phone"]))
            elif library.LISTED_NAMES:
                rows.append((*head, peer["phone"]))
                names.append((peer_id, list(peer["names"])))
            else:
                own = peer["names"][0] if peer["names"] else None
                rows.append((*head, own, peer["phone"]))
                if library.FLAT_NAMES:
                    names += [(peer_id, name) for name in peer["names"]]
        calls: list[Call] = [("update_peers", (rows,))]
        if library.FLAT_NAMES or (library.LISTED_NAMES and names):
            calls.append(("update_usernames", (names,)))
        return calls

    def look(self) -> Call:
        pick = self.random.random()
        if pick < 0.4:
            peer_id: Any = self.any_id()
            if self.random.random() < 0.2:
                peer_id = str(peer_id)
            return "get_peer_by_id", (peer_id,)
        if pick < 0.5:
            return "get_peer_by_id", (
                self.random.choice(["me", "self", "@Name1", "+491", "name1", "t.me/x"]),
            )
        if pick < 0.8:
            return "get_peer_by_username", (f"name{self.random.randrange(26)}",)
        return "get_peer_by_phone_number", (f"49{self.random.randrange(21)}",)

    def identity(self) -> list[Call]:
        field = self.random.choice(library.FIELDS)
        if self.random.random() < 0.6:
            return [(field, ())]
        values: dict[str, list[Any]] = {
            "dc_id": [1, 2, 4, 5],
            "api_id": [None, 1, 123456],
            "test_mode": [None, True, False, 0, 1],
            "auth_key": [None, bytes(range(256)), bytes(256)],
            "date": [0, 1, 1700000000],
            "user_id": [None, 1, (1 << 40) + 1],
            "is_bot": [None, True, False, 0, 1],
            "server_address": ["149.154.167.51", "2001:67c:4e8:f002::a"],
            "port": [80, 443, 65535],
        }
        calls: list[Call] = [(field, (self.random.choice(values[field]),))]
        if library.ADDRESS and field in ("dc_id", "test_mode"):
            address = (("server_address", ("149.154.175.100",)), ("port", (self.random.choice([80, 443]),)))
            calls += address
        return calls

    def state(self) -> Call:
        ids = [0, -1000000000001, -1000000000002, 7]
        row = [self.random.choice(ids), *(self.random.choice([None, 1, 2, 3]) for _ in range(4))]
        pick = self.random.random()
        if library.OBJECT_STATES:
            if pick < 0.5:
                state = library.lib.storage.UpdateState(*row)
                return "set_update_state", (self.random.choice([state, [state], []]),)
            if pick < 0.8:
                return "get_update_states", (self.random.choice([None, 0, [], ids[:2], tuple(ids)]),)
            return "delete_update_state", (self.random.choice([row[0], [], ids[:2]]),)
        if pick < 0.5:
            return "update_state", (self.random.choice([tuple, list])(row),)
        if pick < 0.8:
            return "update_state", ()
        if pick < 0.9 or not hasattr(library.OWN, "remove_state"):
            return "update_state", (row[0],)
        return "remove_state", (self.random.choice([row[0], "name", "@name"]),)


def calls(seed: int, length: int) -> list[Call]:
    world = World(seed)
    result: list[Call] = [("open", ())]
    if library.FLAT_NAMES:
        result.append(("update_usernames", ([],)))
    for _ in range(length):
        pick = world.random.random()
        if pick < 0.3:
            result += world.meet()
        elif pick < 0.7:
            result.append(world.look())
        elif pick < 0.85:
            result += world.identity()
        elif pick < 0.96 and (library.TUPLE_STATES or library.OBJECT_STATES):
            result.append(world.state())
        elif pick > 0.98:
            result += [("save", ()), ("close", ()), ("open", ())]
    return [*result, ("save", ()), ("close", ())]


def plain(value: Any) -> Any:
    """A value in a form that does not depend on the storage."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, sqlite3.Cursor):  # PyroTGFork returns the one that has written
        return None
    return str(value) if hasattr(value, "QUALNAME") else value


async def replay(storage: Any, sequence: list[Call]) -> list[tuple[Call, Any]]:
    """The calls with their results: a value, or the type and arguments of an error. A `date` that `save` has set
    is left out."""
    results = []
    saved = False
    for call in sequence:
        name, arguments = call
        try:
            value = plain(await getattr(storage, name)(*arguments))
        except Exception as error:
            value = (type(error).__name__, error.args)
        if library.MODEL == "pyrofork" and call == ("update_state", ()):
            value = sorted(value)
        if name == "date":
            saved = saved and not arguments
            value = None if saved else value
        saved = saved or name == "save"
        results.append((call, value))
    return results
