"""The libraries themselves on files whose key is sealed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gramd.sync import SyncClient

from daemon import GRAMD, Daemon

KEY = bytes(range(256))
OTHER = bytes(reversed(range(256)))
TELETHON = os.environ["GRAMD_LIBRARY"] == "telethon"

if not TELETHON:
    from library import own_storage


@pytest.fixture
def sealing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    key = tmp_path / "key"
    subprocess.run([GRAMD.parent / "gramctl", "key", "new", key], check=True, stdout=subprocess.DEVNULL)
    started = Daemon(tmp_path, "--key-file", str(key))
    started.start()
    monkeypatch.setenv("GRAMD_SOCKET", started.socket)
    yield started
    started.stop()


def make(daemon: Daemon) -> Path:
    """A sealed session of the library's dialect."""
    with SyncClient() as client, client.open("anna", dialect=os.environ["GRAMD_LIBRARY"]) as session:
        session.set(auth_key=KEY, user_id=7, is_bot=True, test_mode=False, api_id=5)
    daemon.stop()
    return daemon.data / "anna.session"


def key_of(daemon: Daemon) -> bytes:
    daemon.start()
    with SyncClient() as client, client.open("anna") as session:
        key = session.get("auth_key")[0]
    daemon.stop()
    return key


def sealed_rows(path: Path) -> list[tuple[str, bytes]]:
    file = sqlite3.connect(path)
    rows = file.execute("SELECT field, value FROM gramd_sealed ORDER BY field").fetchall()
    file.close()
    return rows


def shows(path: Path, key: bytes) -> bool:
    return key[:16] in path.read_bytes()


async def use(path: Path, key: bytes | None) -> bytes | None:
    """Opens and saves the file as the library does, after it has set the key if one is given. The key it saw first."""
    if TELETHON:
        from telethon.crypto import AuthKey
        from telethon.sessions import SQLiteSession

        own = SQLiteSession(str(path))
        seen = own.auth_key.key if own.auth_key else None
        own.set_dc(2, "149.154.167.51", 443)
        if key:
            own.auth_key = AuthKey(key)
        own.save()
        own.close()
        return seen
    storage = own_storage("anna", path.parent)
    await storage.open()
    seen = await storage.auth_key()
    if key:
        await storage.auth_key(key)
    await storage.save()
    await storage.close()
    return seen


async def test_the_library_sees_no_key_and_leaves_the_table_alone(sealing: Daemon) -> None:
    path = make(sealing)
    before = sealed_rows(path)
    assert [field for field, _ in before] == ["auth_key", "id"]
    assert not await use(path, None)
    assert sealed_rows(path) == before
    assert not shows(path, KEY)
    assert key_of(sealing) == KEY


async def test_a_login_of_the_library_wins_and_is_sealed(sealing: Daemon) -> None:
    path = make(sealing)
    assert not await use(path, OTHER)
    assert shows(path, OTHER)
    assert key_of(sealing) == OTHER
    assert not shows(path, OTHER)
    assert not await use(path, None)
    assert key_of(sealing) == OTHER
