"""What a session may hold, as its client knows: all contents that agree with every answer so far.

A write that is answered has happened. `storage` says that it has not. `unavailable`, or no answer because the daemon has
died, leave both open; what is read later decides."""

from __future__ import annotations

import base64
import copy
import struct
from collections.abc import Callable
from typing import Any, Optional

from wire import Wire

FIELDS = ("user_id", "api_id", "takeout_id", "auth_key", "is_bot")
PEERS = list(range(1, 13))
Content = dict[str, Any]
Change = Callable[[Content], Optional[list[Any]]]
"""Returns what is answered, where that says what was done."""

NEW: Content = {"fields": [None] * len(FIELDS), "peers": [None] * len(PEERS), "names": [], "states": [], "values": {}}


def session_string(user_id: int) -> str:
    """In Pyrogram's format."""
    packed = struct.pack(">BI?256sQ?", 2, user_id + 1, False, bytes([user_id % 256]) * 256, user_id, False)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


class Untrue(Exception):
    """What is read agrees with no content that is possible."""


class Ledger:
    def __init__(self) -> None:
        self.possible: list[Optional[Content]] = [None]
        """None: there is no such session."""

    def _after(self, change: Optional[Change], answer: Any = None) -> list[Optional[Content]]:
        after: list[Optional[Content]] = []
        for content in self.possible:
            if content is None or change is None:
                after.append(None)
                continue
            changed = copy.deepcopy(content)
            expected = change(changed)
            if answer is None or expected is None or answer == expected:
                after.append(changed)
        return after

    def happened(self, change: Optional[Change], answer: Any = None) -> None:
        """`change` None: the deletion of the session."""
        self._narrow(self._after(change, answer), f"answered: {answer}")

    def may_have_happened(self, change: Optional[Change]) -> None:
        for content in self._after(change):
            if content not in self.possible:
                self.possible.append(content)

    def created(self) -> None:
        """It is there: as it was, or as a new one."""
        self.possible = [copy.deepcopy(NEW) if content is None else content for content in self.possible]

    def may_be_created(self) -> None:
        if copy.deepcopy(NEW) not in self.possible:
            self.possible.append(copy.deepcopy(NEW))

    def found(self) -> None:
        self._narrow([content for content in self.possible if content is not None], "the session is there")

    def absent(self) -> None:
        self._narrow([content for content in self.possible if content is None], "the session is not there")

    def seen(self, content: Content) -> None:
        self._narrow([each for each in self.possible if each == content], f"read: {content}")

    def value(self, key: str) -> Optional[bytes]:
        """One that may stand under this key."""
        values: list[Optional[bytes]] = [content["values"].get(key) for content in self.possible if content]
        return values[0] if values else None

    def _narrow(self, left: list[Optional[Content]], what: str) -> None:
        if not left:
            raise Untrue(f"{what}; possible: {self.possible}")
        self.possible = left


def read(wire: Wire, handle: int) -> Content:
    """Everything. Raises WireError."""
    peers = wire.call("get_peers", handle, PEERS)
    fields = wire.call("get", handle, list(FIELDS))
    if fields[3] is not None:  # all its bytes are one
        if len(set(fields[3])) != 1:
            raise Untrue("the key is a mix of two")
        fields[3] = fields[3][0]
    return {
        "fields": fields,
        "peers": [None if peer is None else [peer[1], peer[3], peer[4], peer[5]] for peer in peers],
        "names": [row[:2] for row in wire.call("scan_usernames", handle, None, 100)],
        "states": sorted(wire.call("get_states", handle)),
        "values": dict(wire.call("kv_scan", handle, "", None, 1000)),
    }


# ---- writes: the request, and what it changes ----

Write = tuple[str, list[Any], Change]


def set_fields(value: int) -> Write:
    def change(content: Content) -> None:
        content["fields"][0] = content["fields"][2] = value

    return "set", [{"user_id": value, "takeout_id": value}], change


def import_string(value: int) -> Write:
    def change(content: Content) -> None:
        key = value % 256
        # With another key, what belongs to the other account goes.
        takeout = content["fields"][2] if content["fields"][3] in (None, key) else None
        content["fields"] = [value, value + 1, takeout, key, False]

    return "import_string", [session_string(value), {"overwrite": True}], change


def put_peers(value: int, first: int = 1, n: int = 3) -> Write:
    rows = [[peer, value, "user", f"p{peer}-{value}", f"{peer}{value}", value] for peer in range(first, first + n)]

    def change(content: Content) -> None:
        for row in rows:
            content["peers"][row[0] - 1] = [row[1], row[3], row[4], row[5]]

    return "update_peers", [rows], change


def put_names(value: int) -> Write:
    names = [f"a{value}", f"b{value}"]

    def change(content: Content) -> None:
        content["names"] = sorted([name, 1] for name in names)

    return "update_usernames", [[[1, names, value]]], change


def put_states(value: int) -> Write:
    def change(content: Content) -> None:
        content["states"] = [row for row in content["states"] if row[0] not in (1, 2)]
        content["states"] = sorted([*content["states"], [1, value, value, value, value], [2, value, 0, value, 0]])

    return "update_states", [[[1, value, value, value, value], [2, value, 0, value, 0]]], change


def remove_states(_value: int) -> Write:
    def change(content: Content) -> None:
        content["states"] = [row for row in content["states"] if row[0] != 1]

    return "remove_states", [[1]], change


def put_values(value: int) -> Write:
    rows = [["a", b"%d" % value], ["b", b"%d" % value * 500, 1_000_000], ["c", b"" if value % 2 else None]]

    def change(content: Content) -> None:
        for key, new, *_ in rows:
            if new is None:
                content["values"].pop(key, None)
            else:
                content["values"][key] = new

    return "kv_set", [rows], change


def swap_value(value: int, expected: Optional[bytes]) -> Write:
    new = b"%d" % value

    def change(content: Content) -> list[Any]:
        done = content["values"].get("s") == expected
        if done:
            content["values"]["s"] = new
        return [done, content["values"].get("s")]

    return "kv_swap", ["s", expected, new], change


def save(_value: int) -> Write:
    return "save", [], lambda content: None
