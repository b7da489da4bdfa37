"""The library's own file, made fresh by the library: gramd opens it, changes it, and gives it back to the library.
Runs with every library and every fork."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import gramd
import pytest

import own
from daemon import Daemon
from own import Content, Peer

FIRST = Content(
    4,
    "149.154.167.91",
    777,
    bytes(range(256)),
    [
        Peer(5, 50, "user", ["alice"], "4955"),
        Peer(6, -60, "user", [], None),
        Peer(-8, 0, "group", [], None),
        Peer(-1000000000009, 90, "channel", ["newspaper", "morenews"], None),
    ],
    [(0, 1, 2, 1700000000, 4), (-1000000000009, 5, 6, 1700000001, 8)],
)

# A peer has lost its name and number to another, one is new, one has a new hash and a further name.
BY_GRAMD = Content(
    5,
    "91.108.56.130",
    778,
    bytes(reversed(range(256))),
    [
        Peer(5, 51, "user", [], None),
        Peer(6, -60, "user", ["alice", "alicia"], "4955"),
        Peer(7, (1 << 63) - 1, "user", ["seven"], "4977"),
        Peer(-8, 0, "group", [], None),
        Peer(-1000000000009, 91, "channel", ["newspaper", "latenews"], None),
    ],
    [(0, 11, 12, 1700000010, 14), (-1000000000009, 15, 16, 1700000011, 18)],
)

BY_LIBRARY = Content(
    2,
    "149.154.167.51",
    779,
    bytes(256)[1:] + b"1",
    [Peer(7, 70, "user", ["seventh"], None), Peer(-1000000000010, 100, "channel", ["tenth"], None)],
    [(0, 21, 22, 1700000020, 24)],
)


def shape(path: Path) -> list[Any]:
    """The library's tables, indexes and triggers; the file has to be whole."""
    file = sqlite3.connect(path)
    assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = file.execute("SELECT type, name, sql FROM sqlite_schema WHERE name NOT GLOB 'gramd_*' ORDER BY name")
    found = rows.fetchall()
    file.close()
    return found


async def put(session: gramd.Session, content: Content) -> None:
    """As an adapter writes for this library."""
    await session.set(dc_id=content.dc_id, auth_key=content.auth_key, user_id=content.user_id)
    rows = []
    for peer in content.peers:
        own_name = () if own.FOUR_COLUMNS or own.NAMES_IN_ROWS else (peer.names[0] if peer.names else None,)
        rows.append((peer.id, peer.hash, peer.type, *own_name, peer.phone))
    await session.update_peers(rows)
    if not own.ONE_NAME:
        await session.update_usernames([(peer.id, peer.names) for peer in content.peers])
    await session.update_states(content.states)


async def look(session: gramd.Session, keys: list[str]) -> dict[str, Any]:
    states = {state[0]: tuple(state) for state in await session.get_states()}
    found: dict[str, Any] = {}
    for key in keys:
        what, _, which = key.partition(" ")
        if what == "state":
            found[key] = states[int(which)]
        elif which:
            by = {
                "id": session.get_peer_by_id,
                "name": session.get_peer_by_username,
                "phone": session.get_peer_by_phone_number,
            }[what]
            peer = await by(int(which) if what == "id" else which)
            found[key] = (peer.id, peer.access_hash or 0)
        else:
            found[key] = (await session.get(what))[0]
    return found


async def use(path: Path, seen: dict[str, Any]) -> dict[str, Any]:
    """The library finds all of `seen`, and changes it. Returns what is seen then."""
    assert await own.read(path, list(seen)) == seen
    await own.write(path, BY_LIBRARY)
    after = {**seen, **BY_LIBRARY.seen()}
    for lost in ("name seven", "phone 4977"):
        del after[lost]
    assert await own.read(path, list(after)) == after
    return after


async def test_a_fresh_file_is_opened_changed_and_handed_back(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "acc.session"
    await own.write(path, FIRST)
    made, seen = shape(path), FIRST.seen()
    assert await own.read(path, list(seen)) == seen
    path = path.rename(daemon.data / "acc.session")

    async with gramd.Client() as client, await client.open("acc", create=False) as session:
        assert await look(session, list(seen)) == seen
        await put(session, BY_GRAMD)
        seen = BY_GRAMD.seen()
        assert await look(session, list(seen)) == seen
    daemon.stop()

    assert shape(path) == made
    seen = await use(path, seen)
    daemon.start()
    async with gramd.Client() as client, await client.open("acc", create=False) as session:
        assert await look(session, list(seen)) == seen


async def test_a_session_that_began_in_gramd_is_handed_to_the_library(daemon: Daemon) -> None:
    if own.DIALECT == "none":
        pytest.skip(f"{own.NAME} opens no new file of gramd's")
    async with gramd.Client() as client, await client.open("acc", dialect=own.DIALECT) as session:
        await session.set(api_id=12345, test_mode=False, is_bot=False)
        await put(session, BY_GRAMD)
    daemon.stop()
    seen = await use(daemon.data / "acc.session", BY_GRAMD.seen())
    daemon.start()
    async with gramd.Client() as client, await client.open("acc", create=False) as session:
        assert await look(session, list(seen)) == seen
