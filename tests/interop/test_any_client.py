"""The real Client sees the same on gramd's storage and on the library's own, and the library opens the session's file
afterwards. Runs with every library and every fork."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import own
from daemon import Daemon

library = importlib.import_module("scenario_telethon" if own.TELETHON else "scenario_family")


@pytest.mark.parametrize("cache", [True, False])
async def test_the_same_as_on_the_own_storage(daemon: Daemon, tmp_path: Path, cache: bool) -> None:
    theirs = await library.on_own("own", tmp_path)
    if own.DIALECT == "none":  # the library opens no new file of gramd's: the session begins in one of its own
        own.make_telethon(daemon.data / "acc.session")
    assert await library.on_gramd("acc", tmp_path, cache=cache) == theirs
    assert not list(tmp_path.glob("acc*"))
    daemon.stop()
    found = await own.read(daemon.data / "acc.session", library.KEYS)
    assert found == await own.read(tmp_path / "own.session", library.KEYS)
