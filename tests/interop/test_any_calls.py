"""A storage of gramd answers call by call like the library's own, and makes the same file. Runs with every library of
Pyrogram's family."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

import own
from daemon import Daemon

if not own.TELETHON:
    import library
    import sequence
    from library import GramdStorage, own_storage

    @pytest.mark.parametrize("cache", [True, False])
    @pytest.mark.parametrize("seed", range(3))
    async def test_call_by_call(daemon: Daemon, tmp_path: Path, seed: int, cache: bool) -> None:
        calls = sequence.calls(seed, 300)
        theirs = await sequence.replay(own_storage("own", tmp_path), calls)
        mine = await sequence.replay(GramdStorage("own", cache=cache), calls)
        for step, (expected, got) in enumerate(zip(theirs, mine)):
            assert got == expected, f"call {step} of seed {seed}"
        assert sum(value is not None for _, value in mine) > 100

    async def test_a_new_file_is_like_the_librarys_own(daemon: Daemon, tmp_path: Path) -> None:
        calls = sequence.calls(9, 200)
        await sequence.replay(GramdStorage("acc"), calls)
        await sequence.replay(own_storage("own", tmp_path), calls)
        daemon.stop()
        shapes: list[list[Any]] = []
        for path in (daemon.data / "acc.session", tmp_path / "own.session"):
            with sqlite3.connect(path) as db:
                columns = {
                    table: {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
                    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                    if not table.startswith("gramd_")
                }
                shapes.append([columns, db.execute("SELECT number FROM version").fetchone()])
            db.close()
        made, own_made = shapes
        if made[1] != own_made[1]:  # gramd makes a later version, which the library reads, too
            assert library.NAME in ("pyrofork-2.4.0rc1", "pyroexalt")
            del made[0]["update_state"], made[1], own_made[1]
        assert made == own_made
