"""The records of a session, as the daemon answers them."""

from __future__ import annotations

from typing import NamedTuple, Optional

FIELDS = (
    "dc_id",
    "api_id",
    "test_mode",
    "auth_key",
    "date",
    "user_id",
    "is_bot",
    "server_address",
    "port",
    "takeout_id",
)

CHANNEL_MARK = -1000000000000
"""The marked id of a channel is this minus the channel's own id."""

USERNAME_MAX_AGE = 28800
"""Seconds. The client libraries ask Telegram again about a username that is older."""

TEXT_MAX_BYTES = 255


class Peer(NamedTuple):
    id: int
    access_hash: Optional[int]
    type: str
    username: Optional[str]
    phone_number: Optional[str]
    last_update_on: int


class State(NamedTuple):
    id: int
    pts: Optional[int]
    qts: Optional[int]
    date: Optional[int]
    seq: Optional[int]


class KeyValue(NamedTuple):
    key: str
    value: bytes


class Username(NamedTuple):
    username: str
    peer_id: int
    last_update_on: Optional[int]


def text_fits(text: str) -> bool:
    """Whether a username or phone number can be stored. One that cannot is never found."""
    try:
        return 0 < len(text.encode()) <= TEXT_MAX_BYTES
    except UnicodeEncodeError:
        return False
