"""The stored session behind a library's storage: its name and options, opening and deleting it."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shlex
from dataclasses import dataclass
from typing import Any, Optional, Union

from . import errors, shared
from .features import PYROTGFORK
from .request import TRANSIENT
from .session import OnLeave, OnLost, Session
from .shared import SharedClient, acquire, release

log = logging.getLogger(__name__)

SUFFIX = ".session"

MANY = 1000
"""More warnings than a program has reasons for."""


@functools.lru_cache(maxsize=MANY)
def warn_once(text: str) -> None:
    log.warning("%s", text)


def escaped(directory: str) -> str:
    """As `systemd-escape --path` writes it, so different directories never look the same."""
    text = ""
    for byte in os.fsencode(os.path.abspath(directory)).strip(b"/"):
        letter = chr(byte)
        if letter == "/":
            text += "-"
        elif (letter.isascii() and letter.isalnum()) or letter in ":_" or (letter == "." and text):
            text += letter
        else:
            text += f"\\x{byte:02x}"
    return text or "-"


@dataclass(repr=False)
class Stored:
    """The parameters of a storage. `name` is the session's; with a `workdir` it becomes `NAME@DIRECTORY`."""

    name: str
    workdir: Union[str, os.PathLike[str], None]
    socket: Optional[Union[str, os.PathLike[str]]]
    backend: Optional[str]
    mode: str
    wait: float
    session_string: Optional[str]
    timeout: float
    server_uid: Optional[int]
    linger: Optional[int]
    remove_peers: bool

    def __post_init__(self) -> None:
        self.former: Optional[str] = None  # the name that the first version of this package stored
        if self.name.endswith(SUFFIX):
            if self.workdir is None:
                self.former = self.name
            self.name = self.name[: -len(SUFFIX)]
        self.file = self.name + SUFFIX  # in which the library would keep it
        if self.workdir is not None:
            self.name += "@" + escaped(os.fspath(self.workdir))

    def __repr__(self) -> str:
        return f"Stored({self.name!r})"  # a session string is a password

    async def open(
        self, dialect: str, cache: Any, on_lost: OnLost, on_leave: OnLeave
    ) -> tuple[SharedClient, Session]:
        """`dialect` is for a new file. A session without a key imports the session string. The caller must
        close both with `shared.close`."""
        client = acquire(self.socket, self.server_uid)
        try:
            if dialect == PYROTGFORK:
                if not client.server:  # it has not connected yet
                    await client.call("ping", None, timeout=self.timeout)
                if PYROTGFORK not in client.features:
                    dialect = "pyrogram"  # the library's migrations make it its own
            session = await self._open_found(
                client,
                mode=self.mode,
                dialect=dialect,
                linger=self.linger,
                cache=cache,
                on_lost=on_lost,
                on_leave=on_leave,
            )
        except BaseException:
            await release(client)
            raise
        try:
            self._warn_of_twins(session)
            if self.session_string and (await session.get("auth_key"))[0] is None:
                await self._import(session, self.session_string)
        except BaseException:
            await shared.close(client, session)
            raise
        return client, session

    async def _open_found(self, client: SharedClient, create: bool = True, **options: Any) -> Session:
        """A session that was stored with the suffix in its name keeps that, if there is none without it."""
        options.update(backend=self.backend, wait=self.wait, timeout=self.timeout)
        if self.former is not None:
            for name in (self.name, self.former):
                with contextlib.suppress(errors.NotFound, errors.Denied, errors.TooLarge):
                    session = await client.open(name, create=False, **options)
                    self.name, self.former = name, None
                    return session
        return await client.open(self.name, create=create, **options)

    def _warn_of_twins(self, session: Session) -> None:
        if session.elsewhere:
            options = " or ".join(f'backend="{name}"' for name in session.elsewhere)
            warn_once(
                f"session {self.name} is new on {session.backend}, and there is one of that name on "
                f"{' and '.join(session.elsewhere)}. If that was meant, give the storage {options}"
            )

    async def _import(self, session: Session, text: str) -> None:
        """A refused string leaves no empty session, unless another client has it open already."""
        created = session.created
        try:
            await session.import_string(text)
        except errors.Error as error:
            if created and not isinstance(error, TRANSIENT):
                with contextlib.suppress(errors.Error):
                    if (await session.info())["handles"] == 1:
                        await session.delete()
            raise

    async def look_for_file(self, session: Session, directory: Union[str, os.PathLike[str], None]) -> None:
        """Warns if the session has no key and the library has a file in the bot's directory: its login is not
        used. A `workdir` takes the place of `directory`."""
        path = self._file_in(directory if self.workdir is None else self.workdir)
        if path is None:
            return
        with contextlib.suppress(errors.Error):
            if (await session.get("auth_key"))[0] is None:
                warn_once(
                    f"session {self.name} is new, and {path} is not used. To keep its login, stop the bot, "
                    f"export the session string from it with the library, and {self._import_with(session)}"
                )

    def _import_with(self, session: Session) -> str:
        if session.backend == "memory":  # what gramctl stores there ends with it
            return "give the storage that as `session_string`"
        options = [("--socket", self.socket), ("--backend", self.backend)]
        given = [f"{option}={value}" for option, value in options if value is not None]
        return f"store that with `{shlex.join(['gramctl', *given, 'import', self.name])}`"

    def _file_in(self, directory: Union[str, os.PathLike[str], None]) -> Optional[str]:
        path = None if directory is None else os.path.join(directory, self.file)
        if path is None or not os.path.isfile(path):  # the current directory may have been deleted
            return None
        return os.path.abspath(path)

    async def delete(self) -> bool:
        """False if there was no session. Opens the session to delete it: libraries call this after
        `close`."""
        client = acquire(self.socket, self.server_uid)
        try:
            # It is closed in a moment anyway.
            session = await self._open_found(client, create=False, on_leave=lambda: None)
        except BaseException as error:
            await release(client)
            if isinstance(error, errors.NotFound):
                return False
            raise
        try:
            await session.delete(remove_peers=self.remove_peers)
        except errors.NotFound:
            return False
        finally:
            await shared.close(client, session)
        return True
