"""Messages of MongoDB's protocol (OP_MSG), as far as the proxy looks into them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Optional

import bson

HEADER = struct.Struct("<iiii")
OP_MSG = 2013
HEADER_BYTES = 16
LARGEST = 64 << 20


def message_bytes(header: bytes) -> int:
    size = int(HEADER.unpack(header)[0])
    if not HEADER_BYTES <= size <= LARGEST:
        raise ValueError(f"a message of {size} bytes")
    return size


def request_id(message: bytes) -> int:
    return int(HEADER.unpack_from(message)[1])


def response_to(message: bytes) -> int:
    return int(HEADER.unpack_from(message)[2])


@dataclass
class Command:
    """An OP_MSG: its document, and the sequences of documents behind it (updates, documents, deletes)."""

    body: dict[str, Any]
    sequences: dict[str, list[dict[str, Any]]]

    @property
    def name(self) -> str:
        return next(iter(self.body))

    def rows(self, key: str) -> list[dict[str, Any]]:
        return self.sequences.get(key) or self.body.get(key) or []


def parse(message: bytes) -> Optional[Command]:
    """None: it is another kind of message."""
    if HEADER.unpack_from(message)[3] != OP_MSG:
        return None
    at = HEADER_BYTES + 4
    body: dict[str, Any] = {}
    sequences: dict[str, list[dict[str, Any]]] = {}
    while at < len(message):
        kind, size = message[at], int(struct.unpack_from("<i", message, at + 1)[0])
        part = message[at + 1 : at + 1 + size]
        at += 1 + size
        if kind == 0:
            body = bson.decode(part)
            continue
        end = part.index(b"\0", 4)
        sequences[part[4:end].decode()] = list(bson.decode_all(part[end + 1 :]))
    return Command(body, sequences)


def build(command: Command, request: int, to: int) -> bytes:
    parts = [struct.pack("<i", 0), b"\0", bson.encode(command.body)]
    for name, documents in command.sequences.items():
        content = name.encode() + b"\0" + b"".join(bson.encode(each) for each in documents)
        parts += [b"\1", struct.pack("<i", len(content) + 4), content]
    content = b"".join(parts)
    return HEADER.pack(HEADER_BYTES + len(content), request, to, OP_MSG) + content
