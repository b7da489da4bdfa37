"""The rows that libraries pass to their storages. Their shape tells what they mean: an unknown fork passes
the rows of the library that it comes from.

`update_peers` gets rows of one of these shapes:

    (id, access_hash, type, username, phone_number)
    (id, access_hash, type, phone_number)                    usernames come with `update_usernames`
    (id, access_hash, type, [username, …], phone_number)     `update_usernames` is not called

`update_usernames` gets `(peer_id, username)` for each name, or `(peer_id, [username, …])` for each peer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

Row = Sequence[Any]

ROWS_AT_ONCE = 5000
"""How many a storage writes with one request."""


class UnknownShape(Exception):
    """The row has none of the shapes."""

    def __init__(self, row: Any) -> None:
        super().__init__(repr(row)[:500])


class Peers(NamedTuple):
    rows: list[Row]  # as gramd takes them
    names: dict[int, list[str]]  # of the peers whose rows have a list of names


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def read_peers(rows: Iterable[Any], lists: bool) -> Peers:
    """`lists`: a row of five without a name is one with an empty list of names."""
    plain: list[Row] = []
    names: dict[int, list[str]] = {}
    for row in rows:
        if not _is_list(row) or len(row) not in (4, 5):
            raise UnknownShape(row)
        peer_id, access_hash, kind = row[:3]
        if not (isinstance(peer_id, int) and isinstance(kind, str) and _is_text(row[-1])):
            raise UnknownShape(row)
        if access_hash is not None and not isinstance(access_hash, int):
            raise UnknownShape(row)
        given = row[3]
        if len(row) == 4 or isinstance(given, str) or (given is None and not lists):
            plain.append(row)
            continue
        if given is not None and not (_is_list(given) and all(map(_is_text, given))):
            raise UnknownShape(row)
        plain.append((peer_id, access_hash, kind, row[4]))
        names[peer_id] = list(given or ())
    return Peers(plain, names)


class Usernames(NamedTuple):
    names: dict[int, list[str]]
    flat: set[int]  # the peers whose names came one by one


def read_usernames(rows: Iterable[Any]) -> Usernames:
    names: dict[int, list[str]] = {}
    flat = set()
    for row in rows:
        if not _is_list(row) or len(row) != 2 or not isinstance(row[0], int):
            raise UnknownShape(row)
        peer_id, given = row
        of_peer = names.setdefault(peer_id, [])
        if isinstance(given, str):
            of_peer.append(given)
            flat.add(peer_id)
        elif _is_list(given) and all(map(_is_text, given)):
            of_peer.extend(given)
        else:
            raise UnknownShape(row)
    return Usernames(names, flat)
