"""Secrets that a search finds again, and wrong forms of them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgpack


def marked(name: str, n: int) -> bytes:
    """Random bytes without zeros: one of the strings' formats shortens those."""
    return hashlib.shake_256(name.encode()).digest(2 * n).replace(b"\0", b"")[:n]


KEY = marked("key", 256)
OTHER_KEY = marked("another key", 256)
FILE_KEYS = [marked(f"key of a file {i}", 32) for i in range(3)]
PASSWORD = marked("password", 24).hex().encode()
SECRETS = {
    "the auth key": KEY,
    "the other auth key": OTHER_KEY,
    **{f"key {i} of the key file": key for i, key in enumerate(FILE_KEYS)},
    "MongoDB's password": PASSWORD,
}
PLANTED = marked("planted", 24)
CANARY = base64.urlsafe_b64encode(PLANTED).decode()
"""A name that every output must show."""


def broken(text: str) -> list[str]:
    """Session strings that cannot be read."""
    middle = len(text) // 2
    return [
        text[:-1],
        text[:middle],
        text[:middle] + "!" + text[middle:],
        text[:middle] + "\n" + text[middle:],
        text + "A" * 7,
        text + "=" * 9,
        text + text + text,
        text * 4,
        "\0" + text,
        text[:middle] + "é" + text[middle:],
        "1" + text,
        text[1:],
        text.upper(),
    ]


FORMATS = ("pyrogram", "pyrogram-old64", "pyrogram-old32", "telethon", "gramjs", "mtcute", "mtkruto")
LOGIN = {"auth_key": KEY, "user_id": 4711, "api_id": 12345, "is_bot": True, "dc_id": 2, "test_mode": False}


def bad_values() -> list[Any]:
    return [
        KEY[:255],
        KEY + b"x",
        KEY.hex(),
        base64.b64encode(KEY).decode(),
        list(KEY),
        {KEY: 1},
        {"key": KEY},
        msgpack.ExtType(1, KEY),
        int.from_bytes(KEY[:8], "big") >> 1,
        KEY.decode("latin-1"),
    ]


def key_line(i: int) -> str:
    return f"gramd-key-1 {base64.b64encode(FILE_KEYS[i]).decode()}\n"
