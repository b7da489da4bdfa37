"""One connection to the daemon: bytes to messages and back. What they mean is the client's business.

A request that is alone leaves at once; what is written while others are unanswered leaves in one system call
for each turn of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import weakref
from collections.abc import Iterator
from typing import Any, Callable, Optional, Protocol, cast

import msgpack

log = logging.getLogger(__name__)

LARGEST_MESSAGE = 1 << 30
"""That a daemon can be configured to send."""

READ_AT_ONCE = 1 << 16

LONGEST_ARRAY = 1 << 24
"""Room is made for an array's elements before they have come, so there is a bound."""


class Encoder:
    """Requests as bytes. One for each client: a packer is not to be shared between threads."""

    def __init__(self) -> None:
        self._pack: Callable[[Any], bytes] = msgpack.Packer(autoreset=True).pack
        self._methods: dict[str, bytes] = {}

    def params(self, values: tuple[Any, ...]) -> bytes:
        """The parameters without the array's header, which is one byte of so few: a session's handle may
        still come before them."""
        return self._pack(values)[1:]

    def request(self, identifier: int, method: str, handle: Optional[int], count: int, body: bytes) -> bytes:
        pack = self._pack
        name = self._methods.get(method)
        if name is None:
            name = self._methods[method] = pack(method)
        if handle is None:
            return b"\x94\x00%b%b%c%b" % (pack(identifier), name, 0x90 + count, body)
        return b"\x94\x00%b%b%c%b%b" % (pack(identifier), name, 0x91 + count, pack(handle), body)


class Owner(Protocol):
    """Whose connection it is."""

    def on_message(self, message: list[Any]) -> None: ...

    def on_connection_lost(self, connection: Connection) -> None: ...


class Connection(asyncio.BufferedProtocol):
    """Known to the event loop, which must not keep an owner alive that its users have dropped.

    It reads into a buffer of its own: for a `Protocol` the event loop makes a new one of 256 KiB for each
    read, which the system maps and unmaps; that cost as much as all that is done here."""

    def __init__(self, owner: Owner) -> None:
        self._owner = weakref.ref(owner)
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[asyncio.Transport] = None
        self._unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=False,
            max_buffer_size=2 * LARGEST_MESSAGE,
            max_array_len=LONGEST_ARRAY,
            max_map_len=LONGEST_ARRAY,
        )
        self._buffer = memoryview(bytearray(READ_AT_ONCE))
        self._outgoing: list[bytes] = []
        self._flushing = False
        self._paused = False

    def write(self, data: bytes, at_once: bool = False) -> None:
        if at_once and not self._flushing and not self._paused and self._transport is not None:
            self._transport.write(data)
            return
        self._outgoing.append(data)
        if not self._flushing and not self._paused:
            self._flushing = True
            self._loop.call_soon(self._flush)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is written meanwhile leaves in one system call, at the end."""
        self._flushing = True
        try:
            yield
        finally:
            self._flush()

    def _flush(self) -> None:
        self._flushing = False
        if self._outgoing and self._transport is not None and not self._paused:
            self._transport.write(b"".join(self._outgoing))
            self._outgoing.clear()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Sends what is left, then closes."""
        self._paused = False
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """Ends it from outside of its event loop, which may be closed: the daemon sees the end anyhow."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.abort)
        if not self._loop.is_running():
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._descriptor())) as same:
                same.shutdown(socket.SHUT_RDWR)

    def leave_to_parent(self) -> None:
        """In a forked child: the stream is the parent's, and it must not be the child that keeps it open."""
        with contextlib.suppress(OSError):
            descriptor = self._descriptor()
            one, other = socket.socketpair()
            with one, other:
                os.dup2(one.fileno(), descriptor, inheritable=False)

    def _descriptor(self) -> int:
        """-1: there is none any more."""
        known = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if known is None else cast(int, known.fileno())

    # ---- asyncio.BufferedProtocol ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._transport = None
        self._outgoing.clear()
        owner = self._owner()
        if owner is not None:
            owner.on_connection_lost(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        owner = self._owner()
        if owner is None:
            self.abort()
            return
        try:
            self._unpacker.feed(self._buffer[:nbytes])
            for message in self._unpacker:
                owner.on_message(message)
        except Exception:
            # Not MessagePack, or not this protocol: nothing that follows can be understood either.
            log.exception("gramd sent what is not a message; reconnecting")
            self.abort()
