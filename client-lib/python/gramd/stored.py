"""The stored session behind a library's storage: its name and options, opening and deleting it."""

from __future__ import annotations

import os
from typing import Any, NamedTuple, Optional, Union

from . import errors, shared
from .session import OnLeave, OnLost, Session
from .shared import SharedClient, acquire, release


class Stored(NamedTuple):
    """The parameters of a storage."""

    name: str
    socket: Optional[Union[str, os.PathLike[str]]]
    backend: Optional[str]
    mode: str
    wait: float
    session_string: Optional[str]
    timeout: float
    server_uid: Optional[int]

    def __repr__(self) -> str:
        return f"Stored({self.name!r})"  # a session string is a password

    async def open(
        self, dialect: str, cache: Any, on_lost: OnLost, on_leave: OnLeave
    ) -> tuple[SharedClient, Session]:
        """`dialect` is for a new file. A session without a key imports the session string. The caller must
        close both with `shared.close`."""
        client = acquire(self.socket, self.server_uid)
        try:
            session = await client.open(
                self.name,
                backend=self.backend,
                mode=self.mode,
                wait=self.wait,
                dialect=dialect,
                cache=cache,
                timeout=self.timeout,
                on_lost=on_lost,
                on_leave=on_leave,
            )
        except BaseException:
            await release(client)
            raise
        try:
            if self.session_string and (await session.get("auth_key"))[0] is None:
                await session.import_string(self.session_string)
        except BaseException:
            await shared.close(client, session)
            raise
        return client, session

    async def delete(self) -> bool:
        """False if there was no session. Opens the session to delete it: libraries call this after
        `close`."""
        client = acquire(self.socket, self.server_uid)
        try:
            session = await client.open(
                self.name,
                backend=self.backend,
                create=False,
                wait=self.wait,
                timeout=self.timeout,
                on_leave=lambda: None,  # it is closed in a moment anyway
            )
        except BaseException as error:
            await release(client)
            if isinstance(error, errors.NotFound):
                return False
            raise
        try:
            await session.delete()
        except errors.NotFound:
            return False
        finally:
            await shared.close(client, session)
        return True
