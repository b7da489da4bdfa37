"""Auth keys of other data centres, kept in a session.

A session is logged in at one data centre. For what is at others (most files), a library makes a further key
there, and authorises it with what `auth.exportAuthorization` answers. `DataCentreKeys` keeps such keys in the
session's key-value area, so that the next start and other processes need neither a new key nor an export:

    keys = DataCentreKeys(session)  # an open gramd.Session; used in its event loop
    key = await keys.get(4)         # of data centre 4. `None`: the caller makes one, and authorises it
    await keys.keep(4, key)         # when it is authorised. If another process was faster, its key stays
    await keys.forget(4, key)       # when Telegram has refused it. A newer one stays

A key belongs to the login with which it was authorised, that is the session's own auth key and user: after a
new login `get` no longer finds it. Test servers have keys of their own: `test_mode`.

No method raises an error of gramd: without the daemon, the right `write` or the feature `kv` nothing is
found, and nothing is kept. Values are sealed where the session is; keys are in no log.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Optional

from . import errors
from .session import Session
from .stored import warn_once

log = logging.getLogger(__name__)

PREFIX = "dc_key:"
"""Keys of the area: `dc_key:4`, `dc_key:4:test`. A value is the login (LOGIN_BYTES), then the auth key."""

UNKNOWN_KEY = (-404).to_bytes(4, "little", signed=True)
"""What the server sends instead of an answer when it does not know the key."""

LOGIN_BYTES = 32
KEY_BYTES = 256


class DataCentreKeys:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, dc_id: int, test_mode: bool = False) -> Optional[bytes]:
        name = _name(dc_id, test_mode)
        try:
            login = await self._login()
            if login is None:
                return None
            [kept] = await self._session.kv_get([name])
            if kept is None:
                return None
            if _is_of(kept, login):
                return kept[LOGIN_BYTES:]
            await self._session.kv_swap(name, kept, None)  # of a former login
        except errors.Error as error:
            log.debug("session %s: no key of data centre %d: %s", self._session.name, dc_id, error)
        return None

    async def keep(self, dc_id: int, key: bytes, test_mode: bool = False) -> None:
        name = _name(dc_id, test_mode)
        try:
            login = await self._login()
            if login is None or len(key) != KEY_BYTES:
                return
            try:
                done, kept = await self._session.kv_swap(name, None, login + key)
            except errors.Corrupt:  # what is there is damaged
                await self._session.kv_set([[name, login + key]])
                return
            if not done and kept is not None and not _is_of(kept, login):
                await self._session.kv_swap(name, kept, login + key)
        except errors.Error as error:
            warn_once(f"session {self._session.name}: the key of data centre {dc_id} is not kept: {error}")

    async def forget(self, dc_id: int, key: bytes, test_mode: bool = False) -> None:
        try:
            login = await self._login()
            if login is not None:
                await self._session.kv_swap(_name(dc_id, test_mode), login + key, None)
        except errors.Error as error:
            log.debug("session %s: the key of data centre %d stays: %s", self._session.name, dc_id, error)

    async def _login(self) -> Optional[bytes]:
        """What the login is known by; `None`: there is none."""
        # A new key takes less time than waiting for the daemon.
        if self._session.ended is None and self._session.handle is None:
            raise errors.Unavailable("the daemon is away")
        auth_key, user_id = await self._session.get("auth_key", "user_id")
        return hashlib.sha256(b"%d:" % (user_id or 0) + auth_key).digest() if auth_key else None


def _name(dc_id: int, test_mode: bool) -> str:
    return f"{PREFIX}{dc_id}:test" if test_mode else f"{PREFIX}{dc_id}"


def _is_of(kept: bytes, login: bytes) -> bool:
    return kept.startswith(login) and len(kept) == LOGIN_BYTES + KEY_BYTES
