"""A client that speaks the protocol itself. Nothing is repeated: each request is sent once, on one connection."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Optional

import msgpack

from store import StoreError, Told

FEATURE = "leave"


class Wire(asyncio.Protocol):
    library = False

    def __init__(self, socket: str, name: str, leaves: bool) -> None:
        """`leaves`: announces that it stops when its host hands a session over."""
        self._socket = socket
        self._name = name
        self._leaves = leaves
        self._transport: Optional[asyncio.Transport] = None
        self._unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        self._requests: dict[int, asyncio.Future[Any]] = {}
        self._next = 0
        self._told: dict[int, Told] = {}

    async def connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, self._socket)
        except OSError:
            raise StoreError("unsent") from None
        await self.call("hello", {"client": self._name, "features": [FEATURE] if self._leaves else []})

    async def call(self, method: str, *params: Any) -> Any:
        if self._transport is None:
            raise StoreError("unsent")
        self._next += 1
        number = self._next
        answer = self._requests[number] = asyncio.get_running_loop().create_future()
        self._transport.write(msgpack.packb([0, number, method, list(params)]))
        try:
            return await answer
        finally:
            self._requests.pop(number, None)

    async def open(self, name: str, wait_ms: int, told: Told) -> WireSession:
        result = await self.call("open", name, {"backend": "mongo", "wait": wait_ms})
        self._told[result["session"]] = told
        return WireSession(self, result["session"], result["fence"])

    def forget(self, handle: int) -> None:
        self._told.pop(handle, None)

    def drop(self) -> None:
        self._told.clear()
        if self._transport is not None:
            self._transport.abort()

    # ---- asyncio.Protocol ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._transport = None
        for answer in self._requests.values():
            if not answer.done():
                answer.set_exception(StoreError("disconnected"))
        told, self._told = self._told, {}
        for each in told.values():
            each("disconnected", "")

    def data_received(self, data: bytes) -> None:
        self._unpacker.feed(data)
        for message in self._unpacker:
            if message[0] == 1:
                self._answered(message)
            elif message[1] in ("ended", "leave"):
                self._notified(message[1], message[2])

    def _answered(self, message: list[Any]) -> None:
        answer = self._requests.get(message[1])
        if answer is None or answer.done():
            return
        if message[2] is None:
            answer.set_result(message[3])
        else:
            answer.set_exception(StoreError(message[2][0]))

    def _notified(self, what: str, params: list[Any]) -> None:
        told = self._told.get(params[0])
        if told is not None:
            told(what, params[1] if what == "ended" else "")
        if what == "ended":
            self.forget(params[0])


class WireSession:
    def __init__(self, wire: Wire, handle: int, fence: int) -> None:
        self._wire = wire
        self._handle = handle
        self.fence = fence

    async def call(self, method: str, *params: Any) -> Any:
        if method == "close":
            self._wire.forget(self._handle)
        result = await self._wire.call(method, self._handle, *params)
        if method == "info":
            self.fence = result["fence"]
        return result

    def library_lease(self) -> Optional[int]:
        return None


async def ask(socket: str, method: str, *params: Any) -> Any:
    """One request on a connection of its own. Raises StoreError."""
    wire = Wire(socket, "driver", leaves=False)
    await wire.connect()
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(wire.drop)
        return await wire.call(method, *params)
