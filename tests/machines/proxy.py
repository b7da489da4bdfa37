"""The network between one host and the MongoDB server. It delays, holds, cuts and lets one connection overtake another.
It forwards what a client has sent even after that client has hung up: what a host has sent may arrive at any later
time.

It also notes when the host's instance was renewed: a contender cannot have seen a renewal before it was forwarded
here."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any, Optional

import mongo_messages
from history import Writer, now

Plant = Callable[["Connection", bytes], Optional[bytes]]
"""Looks at a request. Returns what is forwarded, or None: nothing is, the plant has answered."""


class Connection:
    def __init__(self, proxy: Proxy, client: tuple[Any, Any], server: tuple[Any, Any]) -> None:
        self._proxy = proxy
        self._from_client, self.to_client = client
        self._from_server, self.to_server = server
        self.open = asyncio.Event()
        """While it is cleared, this connection forwards nothing to the server."""
        self.open.set()
        self._renewals: dict[int, tuple[int, int]] = {}
        """Of each request that renews: when it came, and when it was forwarded."""

    async def run(self) -> None:
        up = asyncio.ensure_future(self._up())
        down = asyncio.ensure_future(self._down())
        try:
            await asyncio.wait([up, down])
        finally:
            for task in (up, down):
                task.cancel()
            self.abort()

    def abort(self) -> None:
        for writer in (self.to_client, self.to_server):
            writer.transport.abort()

    async def _message(self, reader: asyncio.StreamReader) -> bytes:
        header = await reader.readexactly(mongo_messages.HEADER_BYTES)
        return header + await reader.readexactly(mongo_messages.message_bytes(header) - len(header))

    async def _up(self) -> None:
        """From the client to the server. When it ends, the server is told that nothing more comes."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message: Optional[bytes] = await self._message(self._from_client)
                assert message is not None
                self._note(message)
                for plant in self._proxy.plants:
                    message = plant(self, message) if message is not None else None
                if message is None:
                    continue
                delay = self._proxy.delay()
                if delay:
                    await asyncio.sleep(delay)
                await self.open.wait()
                await self._proxy.open.wait()
                self._note_forwarded(message)
                self.to_server.write(message)
                await self.to_server.drain()
        with contextlib.suppress(ConnectionError, OSError):
            self.to_server.write_eof()

    async def _down(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = await self._message(self._from_server)
                self._note_answer(message)
                with contextlib.suppress(ConnectionError):  # the client may have gone
                    self.to_client.write(message)
                    await self.to_client.drain()
        with contextlib.suppress(ConnectionError, OSError):
            self.to_client.write_eof()

    def _note(self, message: bytes) -> None:
        if b"instances" not in message or b"counter" not in message:
            return
        command = mongo_messages.parse(message)
        if command is None or command.body.get("$db") != "gramd":
            return
        renews = any("counter" in row.get("u", {}).get("$set", {}) for row in command.rows("updates"))
        begins = command.name == "insert" and not any(row.get("dead") for row in command.rows("documents"))
        if renews or begins:
            self._renewals[mongo_messages.request_id(message)] = (now(), 0)

    def _note_forwarded(self, message: bytes) -> None:
        request = mongo_messages.request_id(message)
        if request in self._renewals:
            self._renewals[request] = (self._renewals[request][0], now())

    def _note_answer(self, message: bytes) -> None:
        times = self._renewals.pop(mongo_messages.response_to(message), None)
        if times is None:
            return
        came, sent = times
        answer = mongo_messages.parse(message)
        good = answer is not None and answer.body.get("n") == 1 and not answer.body.get("writeErrors")
        self._proxy.history.put("renewal", t=came, h=self._proxy.host, sent=sent, done=now(), ok=good)


class Proxy:
    """`plants` break it on purpose, to prove the checker."""

    def __init__(self, host: int, server_port: int, history: Writer, dice: random.Random) -> None:
        self.host = host
        self.history = history
        self.plants: list[Plant] = []
        self.port = 0
        self.open = asyncio.Event()
        self.open.set()
        self.connections: dict[Connection, asyncio.Future[None]] = {}
        self._server_port = server_port
        self._server: Optional[asyncio.AbstractServer] = None
        self._dice = dice
        self._cut = False
        self._most, self._rare, self._long = 0.0, 0.0, 0.0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Forwards nothing more."""
        if self._server is not None:
            self._server.close()
        for connection, running in list(self.connections.items()):
            connection.abort()
            running.cancel()
        await asyncio.gather(*self.connections.values(), return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(self, (reader, writer), server)
        running = asyncio.ensure_future(connection.run())
        self.connections[connection] = running
        with contextlib.suppress(asyncio.CancelledError):
            await running
        del self.connections[connection]

    # ---- the weather ----

    def delay(self) -> float:
        result = self._dice.random() * self._most if self._most else 0.0
        return result + (self._long if self._rare and self._dice.random() < self._rare else 0.0)

    def set_delay(self, most: float, rare: float = 0.0, long: float = 0.0) -> None:
        """From now on each request waits for up to `most` seconds, and of all that share, `rare`, for `long`."""
        self._most, self._rare, self._long = most, rare, long

    def hold(self) -> None:
        """Forwards nothing to the server until heal(): then all that was sent meanwhile."""
        self.open.clear()

    def hold_one(self) -> None:
        """One connection waits until heal(); others overtake it."""
        if self.connections:
            self._dice.choice(list(self.connections)).open.clear()

    def cut(self) -> None:
        """Breaks all connections, and lets none be made until heal(). What was under way is lost."""
        self._cut = True
        for connection in list(self.connections):
            connection.abort()

    def heal(self) -> None:
        self._cut = False
        self.open.set()
        for connection in self.connections:
            connection.open.set()
