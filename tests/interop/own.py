"""A library's own session file: written and read with the library's own storage. For every library and fork: it uses
nothing of the adapters."""

from __future__ import annotations

import datetime
import importlib
import os
from pathlib import Path
from typing import Any, NamedTuple

NAME = os.environ["GRAMD_LIBRARY"]
MODULE = os.environ.get("GRAMD_MODULE", NAME if NAME in ("hydrogram", "telethon") else "pyrogram")
MODEL = os.environ.get("GRAMD_MODEL", NAME)
"""The library whose storage is called in the same way: for a fork, another one."""
DIALECT = os.environ.get("GRAMD_DIALECT", NAME)
"""For a new file that the library is to open."""

TELETHON = MODEL == "telethon"
FOUR_COLUMNS = MODEL in ("irenogram", "kurigram")
"""`update_peers` gets rows without usernames."""
NAMES_IN_ROWS = MODEL == "pyrotgfork"
"""`update_peers` gets all usernames of a peer."""
ONE_NAME = MODEL in ("pyrogram", "hydrogram", "telethon")

lib = importlib.import_module(MODULE)


class Peer(NamedTuple):
    id: int
    hash: int
    type: str
    names: list[str]
    phone: str | None


class Content(NamedTuple):
    """What is in a file."""

    dc_id: int
    address: str
    user_id: int
    auth_key: bytes
    peers: list[Peer]
    states: list[tuple[int, int, int, int, int]]

    def seen(self) -> dict[str, Any]:
        """What is found when it is looked up. Not every library keeps update states and addresses."""
        found: dict[str, Any] = {"dc_id": self.dc_id, "auth_key": self.auth_key}
        if not TELETHON:
            found |= {"user_id": self.user_id, "is_bot": False, "test_mode": False, "api_id": 12345}
        if ADDRESS:
            found["server_address"] = self.address
        for peer in self.peers:
            found[f"id {peer.id}"] = (peer.id, peer.hash)
            found |= {f"name {name}": (peer.id, peer.hash) for name in peer.names[: 1 if ONE_NAME else None]}
            if peer.phone:
                found[f"phone {peer.phone}"] = (peer.id, peer.hash)
        if STATES:
            found |= {f"state {state[0]}": state for state in self.states}
        return found


def _kind() -> Any:
    """The library's own class for session files."""
    if TELETHON:
        return importlib.import_module(f"{MODULE}.sessions").SQLiteSession
    # Hydrogram, Irenogram and Kurigram have one class for both kinds; Irenogram's FileStorage is broken.
    kind = importlib.import_module(f"{MODULE}.storage.sqlite_storage").SQLiteStorage
    return kind if hasattr(kind, "FILE_EXTENSION") else lib.storage.FileStorage


KIND = _kind()
STATES = TELETHON or hasattr(KIND, "update_state") or hasattr(KIND, "get_update_states")
ADDRESS = hasattr(KIND, "server_address")


def own_storage(name: str, workdir: Path) -> Any:
    """The library's own storage of a session file."""
    return KIND(name, workdir)


# ---- the family ----


async def _identify(storage: Any, content: Content) -> None:
    fields = {
        "api_id": 12345,
        "dc_id": content.dc_id,
        "server_address": content.address,
        "test_mode": False,
        "auth_key": content.auth_key,
        "user_id": content.user_id,
        "is_bot": False,
    }
    for name, value in fields.items():
        if hasattr(storage, name):
            await getattr(storage, name)(value)


async def meet(storage: Any, peers: list[Peer]) -> None:
    """As the library's Client calls its storage."""
    rows: list[tuple[Any, ...]] = []
    for peer in peers:
        middle: tuple[Any, ...] = (peer.names[0] if peer.names else None,)
        if FOUR_COLUMNS:
            middle = ()
        elif NAMES_IN_ROWS:
            middle = (peer.names,)
        rows.append((peer.id, peer.hash, peer.type, *middle, peer.phone))
    await storage.update_peers(rows)
    if FOUR_COLUMNS:
        await storage.update_usernames([(peer.id, peer.names) for peer in peers])
    elif not ONE_NAME and not NAMES_IN_ROWS:
        await storage.update_usernames([(peer.id, name) for peer in peers for name in peer.names])


async def _states(storage: Any) -> list[tuple[int, ...]]:
    if hasattr(storage, "get_update_states"):
        return [(each.id, each.pts, each.qts, each.date, each.seq) for each in await storage.get_update_states()]
    return list(await storage.update_state()) if STATES else []


async def _put_states(storage: Any, states: list[tuple[int, int, int, int, int]]) -> None:
    for state in states:
        if hasattr(storage, "set_update_state"):
            await storage.set_update_state(lib.storage.UpdateState(*state))
        elif STATES:
            await storage.update_state(state)


async def _write_family(path: Path, content: Content) -> None:
    storage = own_storage(path.stem, path.parent)
    await storage.open()
    await _identify(storage, content)
    await meet(storage, content.peers)
    await _put_states(storage, content.states)
    await storage.save()
    await storage.close()


def _peer(found: Any) -> tuple[int, int]:
    if hasattr(found, "user_id"):
        return found.user_id, found.access_hash
    if hasattr(found, "chat_id"):
        return -found.chat_id, 0
    return -1000000000000 - found.channel_id, found.access_hash


async def _read_family(path: Path, keys: list[str]) -> dict[str, Any]:
    storage = own_storage(path.stem, path.parent)
    await storage.open()
    states = {row[0]: tuple(row) for row in await _states(storage)}
    found: dict[str, Any] = {}
    for key in keys:
        what, _, which = key.partition(" ")
        if what == "id":
            found[key] = _peer(await storage.get_peer_by_id(int(which)))
        elif what == "name":
            found[key] = _peer(await storage.get_peer_by_username(which))
        elif what == "phone":
            found[key] = _peer(await storage.get_peer_by_phone_number(which))
        elif what == "state":
            found[key] = states[int(which)]
        else:
            found[key] = await getattr(storage, what)()
    await storage.close()
    return found


# ---- Telethon ----


def _entity(peer: Peer) -> Any:
    types = importlib.import_module(f"{MODULE}.tl.types")
    name = peer.names[0] if peer.names else None
    if peer.type == "user":
        return types.User(peer.id, access_hash=peer.hash, username=name, phone=peer.phone, first_name="u")
    photo = types.ChatPhotoEmpty()
    if peer.type == "group":
        return types.Chat(-peer.id, title="g", photo=photo, participants_count=1, date=None, version=1)
    number = -1000000000000 - peer.id
    return types.Channel(number, title="c", photo=photo, date=None, access_hash=peer.hash, username=name)


def make_telethon(path: Path) -> None:
    """A file of the library's before the first login."""
    KIND(str(path)).close()


async def _write_telethon(path: Path, content: Content) -> None:
    types = importlib.import_module(f"{MODULE}.tl.types")
    session = KIND(str(path))
    session.set_dc(content.dc_id, content.address, 443)
    session.auth_key = importlib.import_module(f"{MODULE}.crypto").AuthKey(content.auth_key)
    session.process_entities([_entity(peer) for peer in content.peers])
    for number, pts, qts, date, seq in content.states:
        when = datetime.datetime.fromtimestamp(date, tz=datetime.timezone.utc)
        session.set_update_state(number, types.updates.State(pts, qts, when, seq, unread_count=0))
    session.save()
    session.close()


async def _read_telethon(path: Path, keys: list[str]) -> dict[str, Any]:
    session = KIND(str(path))
    found: dict[str, Any] = {}
    for key in keys:
        what, _, which = key.partition(" ")
        if what == "state":
            state = session.get_update_state(int(which))
            found[key] = (int(which), state.pts, state.qts, int(state.date.timestamp()), state.seq)
        elif which:
            entity = session.get_input_entity(int(which) if what == "id" else which)
            found[key] = _peer(entity)
        else:
            value = getattr(session, what)
            found[key] = value.key if what == "auth_key" else value
    session.close()
    return found


write = _write_telethon if TELETHON else _write_family
read = _read_telethon if TELETHON else _read_family
