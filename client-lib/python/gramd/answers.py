"""The shapes of what the daemon sends, as `proto/PROTOCOL.md` has them.

Everything is checked before it is used. What has another shape is a `ProtocolError`, and ends the connection.
Unknown keys of maps, and notifications with unknown names, are ignored: a newer daemon may send them.

msgpack makes objects of exact types, so `type(x) is int` is the check that leaves out booleans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .errors import ProtocolError

Shape = Callable[[Any], bool]

LARGEST_MESSAGE = 1 << 30
"""Bytes: the largest `max_message` that a daemon can be configured with."""

LAST_INTEGER = (1 << 63) - 1

LONGEST_LEASE = 1 << 40
"""Milliseconds: more than thirty years."""


def anything(_: Any) -> bool:
    return True


def nothing(value: Any) -> bool:
    return value is None


def text(value: Any) -> bool:
    return type(value) is str


def integer(value: Any) -> bool:
    return type(value) is int and value <= LAST_INTEGER


def natural(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LAST_INTEGER


def number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def boolean(value: Any) -> bool:
    return type(value) is bool


def binary(value: Any) -> bool:
    return type(value) is bytes


def mapping(value: Any) -> bool:
    return type(value) is dict and all(type(key) is str for key in value)


def lease(value: Any) -> bool:
    return value is None or (natural(value) and value <= LONGEST_LEASE)


def message_bytes(value: Any) -> bool:
    return natural(value) and 0 < value <= LARGEST_MESSAGE


def positive(value: Any) -> bool:
    return natural(value) and value > 0


def optional(shape: Shape) -> Shape:
    return lambda value: value is None or shape(value)


def list_of(shape: Shape) -> Shape:
    return lambda value: type(value) is list and all(map(shape, value))


def row_of(*shapes: Shape) -> Shape:
    return lambda value: (
        type(value) is list
        and len(value) == len(shapes)
        and all(shape(element) for shape, element in zip(shapes, value))
    )


def map_of(needed: dict[str, Shape], known: dict[str, Shape]) -> Shape:
    """A map with all keys of `needed`, and perhaps some of `known`."""

    def shape(value: Any) -> bool:
        if not mapping(value) or not needed.keys() <= value.keys():
            return False
        shapes = {**needed, **known}
        return all(shapes[key](value[key]) for key in shapes.keys() & value.keys())

    return shape


def peer(row: Any) -> bool:
    """Written out, because it runs for each peer that is read."""
    if type(row) is not list or len(row) != 6:
        return False
    identifier, access_hash, kind, username, phone_number, updated = row
    return (
        type(identifier) is int
        and (access_hash is None or type(access_hash) is int)
        and type(kind) is str
        and (username is None or type(username) is str)
        and (phone_number is None or type(phone_number) is str)
        and type(updated) is int
    )


FIELDS: dict[str, Shape] = {
    "dc_id": integer,
    "api_id": optional(integer),
    "test_mode": optional(boolean),
    "auth_key": optional(binary),
    "date": integer,
    "user_id": optional(integer),
    "is_bot": optional(boolean),
    "server_address": optional(text),
    "port": optional(integer),
    "takeout_id": optional(integer),
}

RESULTS: dict[str, Shape] = {
    "hello": map_of({}, {"max_message": message_bytes, "max_in_flight": positive}),
    "ping": anything,
    "open": map_of(
        {"session": positive, "backend": text, "dialect": text},
        {"created": boolean, "fence": optional(natural), "lease": lease, "elsewhere": list_of(text)},
    ),
    "lease": lease,
    "info": mapping,
    "get": list_of(anything),
    "get_peer_by_id": peer,
    "get_peer_by_username": peer,
    "get_peer_by_phone_number": peer,
    "get_peers": list_of(optional(peer)),
    "scan_peers": list_of(peer),
    "scan_usernames": list_of(row_of(text, integer, optional(integer))),
    "get_states": list_of(row_of(integer, *[optional(integer)] * 4)),
    "kv_get": list_of(optional(binary)),
    "kv_swap": row_of(boolean, optional(binary)),
    "kv_scan": list_of(row_of(text, binary)),
    "export_string": text,
    "import_string": list_of(text),
    "sessions": list_of(map_of({"name": text}, {})),
    "clients": list_of(map_of({"id": natural}, {})),
    "stats": lambda value: mapping(value) and all(map(number, value.values())),
}
"""By method; that of a method without an entry is `nothing`."""

NOTIFICATIONS: dict[str, Shape] = {
    "changed": row_of(
        positive,
        map_of(
            {},
            {
                "all": anything,
                "peers": optional(list_of(integer)),
                "usernames": optional(list_of(text)),
                "phones": optional(list_of(text)),
                "fields": optional(list_of(text)),
                "kv": optional(list_of(text)),
            },
        ),
    ),
    "leave": row_of(positive, text),
    "ended": row_of(positive, text, text),
    "request": row_of(mapping),
}

error = row_of(text, text, optional(mapping))


def check_result(method: str, result: Any) -> None:
    if not RESULTS.get(method, nothing)(result):
        raise ProtocolError(f"{method}: the answer has the wrong shape")


def check_count(method: str, asked: Sequence[Any], values: Sequence[Any]) -> None:
    """The answer to a list has one element for each of its elements."""
    if len(values) != len(asked):
        raise ProtocolError(f"{method}: {len(values)} answers to {len(asked)} questions")


def check_fields(names: Sequence[str], values: Sequence[Any]) -> None:
    check_count("get", names, values)
    for name, value in zip(names, values):
        if not FIELDS.get(name, anything)(value):
            raise ProtocolError(f"get: the value of {name} has the wrong type")


def check_message(message: Any) -> None:
    """The parts of a message that are not a result."""
    if type(message) is not list or not message:
        raise ProtocolError("a message is not an array")
    kind = message[0]
    if type(kind) is int and kind == 1:
        if len(message) != 4 or not natural(message[1]):
            raise ProtocolError("a response has the wrong shape")
        if message[2] is not None and not error(message[2]):
            raise ProtocolError("the error of a response has the wrong shape")
    elif type(kind) is int and kind == 2:
        if len(message) != 3 or type(message[1]) is not str or type(message[2]) is not list:
            raise ProtocolError("a notification has the wrong shape")
        if not NOTIFICATIONS.get(message[1], anything)(message[2]):
            raise ProtocolError(f"the notification {message[1]} has the wrong parameters")
    else:
        raise ProtocolError("a message is neither a response nor a notification")
