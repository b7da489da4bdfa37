"""A proxy before a daemon's socket that loses an answer, and the connection with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, Callable, Optional


class Lossy:
    """`async with Lossy(path, daemon_socket) as proxy`: clients connect to `path`."""

    def __init__(self, path: str, socket: str) -> None:
        self.path = path
        self._socket = socket
        self._meanwhile: Optional[Callable[[], Awaitable[None]]] = None

    async def __aenter__(self) -> Lossy:
        self._connections: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_unix_server(self._accept, self.path)
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def lose_next(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Loses what the daemon says next, calls `meanwhile`, and closes the connection."""
        self._meanwhile = meanwhile

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(connection)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(self._socket)
        back = asyncio.ensure_future(self._answers(there_reader, writer))
        forth = asyncio.ensure_future(self._requests(reader, there_writer))
        try:
            await asyncio.wait([back, forth], return_when=asyncio.FIRST_COMPLETED)
        finally:
            back.cancel()
            forth.cancel()
            for each in (writer, there_writer):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._meanwhile is not None:
                meanwhile, self._meanwhile = self._meanwhile, None
                await meanwhile()
                return
            writer.write(data)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
