"""The real Client of the library, from a new session on, on the library's own storage or on gramd's: what the
application sees. Telegram's side is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import library
import offline
from library import GramdStorage, own_storage, raw

offline.patch()


async def authorise(app: Any) -> None:
    """Stores what signing in stores."""
    await app.storage.user_id(offline.ME)
    await app.storage.is_bot(False)


def more() -> list[Any]:
    """A peer that is to lose its name, and one with several names, which old libraries do not know of."""
    peers = [raw.types.User(id=14, access_hash=140, first_name="F", username="Lost")]
    if "usernames" in raw.types.User.__slots__:
        names = [raw.types.Username(username=name, active=True) for name in ("First", "Second")]
        peers.append(raw.types.User(id=13, access_hash=130, first_name="E", usernames=names))
    return peers


def renamed() -> list[Any]:
    """Telegram sends some of the peers again. One has another name, and another one its former name. (A name on two
    peers of the same second has no defined owner.)"""
    return [
        raw.types.User(id=14, access_hash=140, first_name="F"),
        raw.types.User(id=6, access_hash=60, first_name="B", bot=True, username="OldBot"),
        raw.types.User(id=7, access_hash=71, first_name="C", username="TheBot", phone="4977"),
    ]


async def scenario(app: Any) -> list[Any]:
    seen: list[Any] = []

    async def look(what: Any) -> None:
        try:
            seen.append((what, str(await app.resolve_peer(what))))
        except Exception as error:
            seen.append((what, type(error).__name__, str(error)))

    async def look_up_stored(*names: str) -> None:
        for name in names:
            try:
                seen.append((name, str(await app.storage.get_peer_by_username(name))))
            except KeyError as error:
                seen.append((name, str(error)))

    seen.append(await app.connect())
    await authorise(app)
    await app.disconnect()
    await app.start()
    seen.append(await app.export_session_string())
    seen.append(await app.fetch_peers(offline.met() + more()))
    for what in (5, 6, 7, 13, -8, -1000000000009, -1000000000010, 777, "me", "self"):
        await look(what)
    for what in ("@Alice", "alice", "@TheBot", "NEWS", "+4955", "4955", "+49 777", "@Myself", "5", "-8"):
        await look(what)
    for what in (12345, -12345, -1000000012345, "+4900", "@nobody"):
        await look(what)
    await look_up_stored("alice", "thebot", "news", "lost", "first", "second", "nobody")
    await app.fetch_peers(renamed())
    await look_up_stored("thebot", "oldbot", "lost")
    await look(7)
    await app.stop()
    await app.start()
    await look(5)
    await look("@news")
    await look_up_stored("alice", "thebot", "second")
    for field in library.FIELDS:
        value = await getattr(app.storage, field)()
        seen.append((field, value if field != "date" else None))
    await app.stop()
    return seen


async def on_own(name: str, workdir: Path) -> list[Any]:
    app = library.client(name, workdir=workdir)
    app.storage = own_storage(name, workdir)
    return await scenario(app)


async def on_gramd(name: str, workdir: Path, **options: Any) -> list[Any]:
    return await scenario(library.client_with(GramdStorage(name, **options), workdir=workdir))


KEYS = ["id 5", "id -8", "id -1000000000009", "name alice", "name news", "phone 4955", "user_id", "auth_key"]
"""What the library finds in a file that it is given after `on_gramd`."""
