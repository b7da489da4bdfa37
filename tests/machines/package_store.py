"""A client with the Python package: its `Client`, which connects again by itself, opens its sessions again, repeats
requests and watches leases."""

from __future__ import annotations

from typing import Any, Optional

import gramd
from gramd import errors

from store import StoreError, Told


def _code(error: Exception) -> str:
    if isinstance(error, errors.TimedOut):
        return "timeout"
    return error.code if isinstance(error, errors.Error) else "disconnected"


class Package:
    library = True

    def __init__(self, socket: str, name: str, timeout_s: float, leaves: bool) -> None:
        self._leaves = leaves
        self._client = gramd.Client(socket, name=name, timeout=timeout_s)

    async def connect(self) -> None:
        try:
            await self._client.ping()
        except errors.Error as error:
            raise StoreError(_code(error)) from None

    async def open(self, name: str, wait_ms: int, told: Told) -> PackageSession:
        def lost(reason: errors.Error) -> None:
            told("lost", reason.code)

        def leave(_reason: str) -> None:
            told("leave", "")

        on_leave = leave if self._leaves else None
        try:
            session = await self._client.open(
                name, backend="mongo", wait=wait_ms / 1000, on_lost=lost, on_leave=on_leave
            )
        except errors.Error as error:
            raise StoreError(_code(error)) from None
        return PackageSession(session)

    def drop(self) -> None:
        self._client.abandon()


class PackageSession:
    def __init__(self, session: gramd.Session) -> None:
        self._session = session

    @property
    def fence(self) -> int:
        return self._session.fence

    async def call(self, method: str, *params: Any) -> Any:
        session = self._session
        if session.ended:
            raise StoreError("unsent")
        try:
            if method == "lease":
                left = await session.lease()
                return None if left is None else round(left * 1000)
            if method == "set":
                return await session.set(**params[0])
            if method == "get":
                return await session.get(*params[0])
            return await getattr(session, method)(*params)
        except errors.Error as error:
            raise StoreError(_code(error)) from None

    def library_lease(self) -> Optional[int]:
        until = self._session._lease._until  # no other way tells it
        return None if until is None else round(until * 1e9)
