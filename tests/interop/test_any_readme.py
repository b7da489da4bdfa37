"""Runs the example of this library, of a fork that of the library that it is like, as it is written in the package's
README. Telegram's side is replaced."""

from __future__ import annotations

from pathlib import Path

import gramd
import pytest

from daemon import Daemon
from own import MODEL, MODULE, TELETHON
from readme import examples, run

HERE = Path(__file__).parent

OFFLINE = """
import sys
sys.path.insert(0, {here!r})
import offline_telethon, telethon
offline_telethon.patch()
telethon.TelegramClient.run_until_disconnected = telethon.TelegramClient.disconnect
""" if TELETHON else """
import importlib, sys
sys.path.insert(0, {here!r})
import offline
offline.patch()
async def at_once():
    pass
importlib.import_module(f"{{offline.lib.__name__}}.methods.utilities.run").idle = at_once
"""  # fmt: skip


@pytest.mark.skipif(MODULE not in ("pyrogram", "hydrogram", "telethon"), reason="has an import name of its own")
def test_the_example_of_this_library(daemon: Daemon, tmp_path: Path) -> None:
    [code] = examples(MODEL)
    assert len([line for line in code.splitlines() if line]) == 5
    with gramd.SyncClient() as client:
        with client.open("my_account", dialect=MODEL) as session:
            session.set(
                api_id=12345, dc_id=2, test_mode=False, auth_key=bytes(range(256)), user_id=777, is_bot=False
            )
        run(OFFLINE.format(here=str(HERE)) + code, tmp_path)
        with client.open("my_account", create=False) as session:
            assert session.get_peer_by_id(777).access_hash == 7770
            assert session.get("date")[0] > 0
    assert not list(tmp_path.glob("*.session"))
