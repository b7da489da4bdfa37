"""What a storage looks for in the settings of the library's Client: the bot's token, and parameters that have
no effect beside a storage of gramd."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Optional

from . import errors
from .session import Session
from .stored import Stored, warn_once

TOKEN = re.compile(r"\s*([0-9]{1,19}):")


def bot_of(client: Any) -> Optional[int]:
    """The id of the bot whose token the client has."""
    token = getattr(client, "bot_token", None)
    found = TOKEN.match(token) if isinstance(token, str) else None
    return None if found is None else int(found[1])


async def check_account(session: Session, clients: Sequence[Any]) -> None:
    """Raises `OtherAccount` if a client has the token of another account than the stored one: the library
    would run as the stored one."""
    bots = {bot for bot in map(bot_of, clients) if bot is not None}
    if not bots:
        return
    stored = (await session.get("user_id"))[0]
    if not stored or bots == {stored}:
        return
    if (await session.get("auth_key"))[0] is None:  # the library logs in, and writes its `user_id`
        return
    other = max(bots - {stored})
    raise errors.OtherAccount(
        f"session {session.name} is logged in as {stored}, and the bot token is for {other}. Give each bot a "
        f"session of its own: another name, or the storage's parameter `workdir`. If {other} shall have this "
        f"one, delete it first: gramd.SyncClient({session.client.socket!r}).open({session.name!r}, "
        f"backend={session.backend!r}).delete()"
    )


def warn_of_ignored(stored: Stored, session: Session, clients: Sequence[Any]) -> None:
    for client in clients:
        for parameter, is_given, instead in (
            ("session_string", bool(stored.session_string), "session_string=…"),
            ("in_memory", session.backend == "memory", 'backend="memory"'),
            ("mongodb", session.backend == "mongo", 'backend="mongo"'),
        ):
            if not getattr(client, parameter, None):
                continue
            if not is_given:
                warn_once(
                    f"session {stored.name}: the Client's `{parameter}` has no effect beside a storage of "
                    f"gramd; give the storage `{instead}`"
                )
            break  # the libraries, too, use the first; some set `in_memory` where there is a string
