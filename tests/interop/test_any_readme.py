"""Runs what the READMEs tell the author of a bot with this library to write, as it is written there: for a fork, what
they tell of the library that it is like."""

from __future__ import annotations

from pathlib import Path

import gramd
import pytest

from daemon import Daemon
from own import MODEL, MODULE, TELETHON
from readme import OFFLINE, attached, examples, run

pytestmark = pytest.mark.skipif(
    MODULE not in ("pyrogram", "hydrogram", "telethon"), reason="has an import name of its own"
)


def run_logged_in(code: str, directory: Path) -> None:
    """Runs a bot whose session is logged in, and looks at what it has stored."""
    with gramd.SyncClient() as client:
        with client.open("my_account", dialect=MODEL) as session:
            session.set(api_id=12345, dc_id=2, test_mode=False, auth_key=bytes(range(256)), user_id=777, is_bot=False)
        run(OFFLINE + code, directory)
        with client.open("my_account", create=False) as session:
            assert session.get_peer_by_id(777).access_hash == 7770
            assert session.get("date")[0] > 0
    assert not list(directory.glob("*.session"))


def test_the_example_of_this_library(daemon: Daemon, tmp_path: Path) -> None:
    [code] = examples(MODEL)
    assert len([line for line in code.splitlines() if line]) == 5
    run_logged_in(code, tmp_path)


def test_the_line_of_this_library(daemon: Daemon, tmp_path: Path) -> None:
    [row] = [row for row in attached() if row.library == MODEL]
    ours = "client.start()\nclient.run_until_disconnected()" if TELETHON else "app.run()"
    imports = f"from {MODULE} import {'TelegramClient' if TELETHON else 'Client'}\n{row.imports}"
    run_logged_in(f"{imports}\napi_id, api_hash = 12345, '0' * 32\n{row.line}\n{ours}\n", tmp_path)
