"""One connection to the daemon: turns messages into bytes and back, and does not interpret them.

A request is written at once if no other is unanswered. Otherwise what is written in one turn of the event
loop is sent with one system call.
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

from . import errors, limits

log = logging.getLogger(__name__)

READ_BYTES = 1 << 16


def unpacker(largest: int) -> msgpack.Unpacker:
    """For messages of at most `largest` bytes. Each element takes at least one byte, so sizes that are told
    before their elements have arrived have the same bound."""
    return msgpack.Unpacker(
        raw=False,
        strict_map_key=False,
        max_buffer_size=largest + READ_BYTES,
        max_str_len=largest,
        max_bin_len=largest,
        max_ext_len=largest,
        max_array_len=largest,
        max_map_len=largest // 2,
    )


class Encoder:
    """Packs requests. Each client has its own: threads must not share a packer."""

    def __init__(self) -> None:
        self._pack: Callable[[Any], bytes] = msgpack.Packer(autoreset=True).pack
        self._methods: dict[str, bytes] = {}

    def params(self, values: tuple[Any, ...]) -> bytes:
        """The packed parameters without the array's header, which is one byte: `request` may put the
        session's handle before them."""
        return self._pack(values)[1:]

    def request(self, identifier: int, method: str, handle: Optional[int], count: int, body: bytes) -> bytes:
        pack = self._pack
        name = self._methods.get(method)
        if name is None:
            name = self._methods[method] = pack(method)
        if handle is None:
            return b"\x94\x00%b%b%c%b" % (pack(identifier), name, 0x90 + count, body)
        return b"\x94\x00%b%b%c%b%b" % (pack(identifier), name, 0x91 + count, pack(handle), body)


class Receiver(Protocol):
    """Gets the messages of a connection."""

    def on_message(self, message: list[Any]) -> None: ...

    def on_invalid(self, error: errors.ProtocolError) -> None:
        """What has arrived is not the protocol. The connection is lost in a moment."""

    def on_connection_lost(self, connection: Connection) -> None: ...


class Connection(asyncio.BufferedProtocol):
    """The reference to the receiver is weak: the event loop keeps the connection alive, and must not keep a
    client alive that its users have dropped.

    A `BufferedProtocol` has one buffer for all reads. For a `Protocol` the event loop allocates 256 KiB for
    each read, which took as long as everything that this class does."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = weakref.ref(receiver)
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[asyncio.Transport] = None
        self.invalid = False  # something has arrived that is not the protocol
        self._largest = limits.MESSAGE_BYTES
        self._unpacker = unpacker(self._largest)
        self._partial = 0  # bytes read since the last one that ended a message
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._outgoing: list[bytes] = []
        self._flushing = False
        self._paused = False

    def expect(self, largest: int) -> None:
        """The daemon's messages have at most so many bytes. May be called while one of them is handled."""
        if largest == self._largest:
            return
        rest = self._unpacker.read_bytes(READ_BYTES)  # at most one read: a message has just ended
        self._largest = largest
        self._unpacker = unpacker(largest)
        self._unpacker.feed(rest)

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
        """What is written meanwhile is sent with one system call, at the end."""
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
        """Closes the connection after sending what was written."""
        self._paused = False
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """Ends the connection from outside of its event loop, also if that is closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.abort)
        if not self._loop.is_running():
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._descriptor())) as same:
                same.shutdown(socket.SHUT_RDWR)

    def leave_to_parent(self) -> None:
        """Replaces the descriptor in a forked child, so that the child does not keep the parent's connection
        open."""
        with contextlib.suppress(OSError):
            descriptor = self._descriptor()
            one, other = socket.socketpair()
            with one, other:
                os.dup2(one.fileno(), descriptor, inheritable=False)

    def _descriptor(self) -> int:
        """Of the socket; -1 if the transport has none any more."""
        known = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if known is None else cast(int, known.fileno())

    # ---- asyncio.BufferedProtocol ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._transport = None
        self._outgoing.clear()
        receiver = self._receiver()
        if receiver is not None:
            receiver.on_connection_lost(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        receiver = self._receiver()
        if receiver is None:
            self.abort()
            return
        if self.invalid:
            return
        try:
            self._read(receiver, nbytes)
        except errors.ProtocolError as error:
            self._end(receiver, error)
        except UnicodeDecodeError:  # it has the bytes, which may be a key
            self._end(receiver, errors.ProtocolError("invalid bytes: a text is not UTF-8"))
        except Exception as error:  # of msgpack; or a defect of this package, which must not go unseen either
            log.debug("from gramd", exc_info=True)
            self._end(receiver, errors.ProtocolError(f"invalid bytes: {error!r}"))

    def _read(self, receiver: Receiver, nbytes: int) -> None:
        self._unpacker.feed(self._buffer[:nbytes])
        self._partial += nbytes
        used = None
        while used is not self._unpacker:  # `expect` replaces it
            used = self._unpacker
            for message in used:
                self._partial = nbytes  # what follows this message has arrived with it
                receiver.on_message(message)
        if self._partial > self._largest + READ_BYTES:
            raise errors.ProtocolError(f"a message has more than {self._largest} bytes")

    def _end(self, receiver: Receiver, error: errors.ProtocolError) -> None:
        """The start of the next message is unknown, so the connection ends."""
        self.invalid = True
        log.warning("gramd sent an invalid message: %s; reconnecting", error)
        self.abort()
        receiver.on_invalid(error)
