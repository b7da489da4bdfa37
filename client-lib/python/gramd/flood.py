"""Flood waits and requests of the client libraries, known by names and attributes. No library is imported."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Optional

from .records import CHANNEL_MARK

FLOODS = {
    "FloodWait",  # Pyrogram and its forks
    "FloodPremiumWait",
    "FloodTestPhoneWait",
    "SlowmodeWait",
    "TwoFaConfirmWait",
    "TakeoutInitDelay",
    "FloodWaitError",  # Telethon and its forks
    "FloodPremiumWaitError",
    "FloodTestPhoneWaitError",
    "SlowModeWaitError",
    "TakeoutInitDelayError",
}
"""Classes of errors that name seconds to wait, or base classes of these."""

CHATS = ("to_peer", "peer", "channel")
"""Where a request has the chat that it is for."""


def flood_seconds(error: BaseException) -> Optional[int]:
    """The seconds to wait, if it is a library's flood error."""
    if not any(kind.__name__ in FLOODS for kind in type(error).__mro__):
        return None
    for attribute in ("seconds", "value", "x"):
        seconds = getattr(error, attribute, None)
        if isinstance(seconds, (int, str)) and str(seconds).isdigit():
            return int(seconds)
    return None


def floods_of(error: BaseException, requests: Sequence[Any]) -> list[tuple[BaseException, Any]]:
    """The flood errors in what a library has raised for these requests, each with its request. An error may
    be of another request, which the library makes for one of these: for the id of a name."""
    if type(error).__name__ == "MultiError":  # Telethon's, for a list: an error or `None` for each request
        pairs = list(zip_longest(getattr(error, "exceptions", ()), requests))
    else:
        of = bare(getattr(error, "request", None))
        meant = [each for each in requests if of is None or bare(each) is of] if requests else [None]
        pairs = [(error, each) for each in meant[:1]]
    return [pair for pair in pairs if pair[0] is not None and flood_seconds(pair[0]) is not None]


def is_slow_mode(error: BaseException) -> bool:
    """It is about one chat; other waits are about the account."""
    return "slowmode" in type(error).__name__.lower()


def asked(request: Any) -> tuple[str, Optional[int]]:
    """The method of a raw request, as Telegram names it, and the marked id of the chat that it is for."""
    request = bare(request)
    kind = type(request)
    path = getattr(kind, "QUALNAME", None) or f"{kind.__module__}.{kind.__name__}"
    *space, name = path.partition("functions.")[2].split(".")
    if name.endswith("Request"):  # Telethon's
        name = name[: -len("Request")]
    method = ".".join([*space, name[:1].lower() + name[1:]])
    peers = (getattr(request, name, None) for name in CHATS)
    return method, _marked(next((peer for peer in peers if peer is not None), None))


def bare(request: Any) -> Any:
    """Without what wraps it."""
    while type(request).__name__.startswith("InvokeWith"):
        request = request.query
    return request


def _marked(peer: Any) -> Optional[int]:
    if isinstance(user := getattr(peer, "user_id", None), int):
        return user
    if isinstance(group := getattr(peer, "chat_id", None), int):
        return -group
    if isinstance(channel := getattr(peer, "channel_id", None), int):
        return CHANNEL_MARK - channel
    return None
