"""Moves a bot to gramd as the table in the package's README says: makes the Client with the line as it was, logs in, runs
the command, makes the Client with the new line, and looks what it has kept. The rows are written for a Client with
`storage_engine=`; for the others their own parameter is put in its place, as the text above the table says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import gramd
import pytest

import mongo
from daemon import Daemon
from own import MODEL, MODULE, TELETHON
from readme import HERE, OFFLINE, TREE, attached, moves, run

pytestmark = pytest.mark.skipif(
    MODULE not in ("pyrogram", "hydrogram", "telethon"), reason="has an import name of its own"
)

[ROW] = [row for row in attached() if row.library == MODEL]
PARAMETER = re.search(r"(\w+)=Gramd", ROW.line)
MOVES = moves()
FILES = ("Telethon, a file", "Telethon, a path") if TELETHON else ("a file", "a file in `workdir`")
MEMORY, STRING, OWN = (
    ("Telethon, in memory", "Telethon, a string", "Telethon, a session of its own")
    if TELETHON
    else ("in memory", "a session string", "a storage of its own")
)

BEGIN_FAMILY = f"""
import asyncio
from {MODULE} import Client
from own import KIND, meet, Peer
{ROW.imports}
class OwnStorage(KIND):
    def __init__(self, name):
        super().__init__(name, __import__("pathlib").Path("own"))
api_id, api_hash = 12345, "0" * 32
asyncio.set_event_loop(asyncio.new_event_loop())
"""

LOG_IN_FAMILY = """
async def main():
    await app.connect()
    await app.storage.user_id(777)
    await app.storage.is_bot(False)
    await meet(app.storage, [Peer(5, 50, "user", ["alice"], None)])
    await app.storage.save()
    text = await app.export_session_string()
    await app.disconnect()
    return text
text = asyncio.get_event_loop().run_until_complete(main())
"""

LOOK_FAMILY = """
async def main():
    logged_in = await app.connect()
    try:
        hash = (await app.storage.get_peer_by_id(5)).access_hash
    except KeyError:
        hash = None
    print(logged_in, hash)
    await app.disconnect()
asyncio.get_event_loop().run_until_complete(main())
"""

BEGIN_TELETHON = f"""
import asyncio
from telethon import TelegramClient
from telethon.sessions import MemorySession, StringSession
{ROW.imports}
class OwnSession(MemorySession):
    pass
api_id, api_hash = 12345, "0" * 32
asyncio.set_event_loop(asyncio.new_event_loop())
"""

LOG_IN_TELETHON = """
async def main():
    await client.connect()
    client.session.set_dc(2, "149.154.167.51", 443)
    client.session.auth_key = __import__("telethon").crypto.AuthKey(bytes(range(256)))
    client.session.process_entities([offline_telethon.user(5)])
    client.session.save()
    text = StringSession.save(client.session)
    await client.disconnect()
    return text
text = asyncio.get_event_loop().run_until_complete(main())
"""

LOOK_TELETHON = """
async def main():
    logged_in = client.session.auth_key is not None and client.session.auth_key.key == bytes(range(256))
    try:
        hash = client.session.get_input_entity(5).access_hash
    except ValueError:
        hash = None
    print(logged_in, hash)
    client.session.close()
asyncio.get_event_loop().run_until_complete(main())
"""

BEGIN = OFFLINE + (BEGIN_TELETHON if TELETHON else BEGIN_FAMILY)
LOG_IN = LOG_IN_TELETHON if TELETHON else LOG_IN_FAMILY
LOOK = LOOK_TELETHON if TELETHON else LOOK_FAMILY


def for_this_library(line: str) -> str:
    """The line with this library's parameter, and for Pyrogram, which has none, with `attach`."""
    if TELETHON:
        return line
    if PARAMETER is not None:
        return re.sub(r"\bstorage(_engine)?=", f"{PARAMETER[1]}=", line)
    found = re.fullmatch(r"(.*), storage_engine=(\w+)\(\"my_account\"(.*)\)\)", line)
    if found is None:
        return line
    made, kind, options = found.groups()
    return f"{made}); " + (f'app.storage = {kind}("my_account")' if kind == "OwnStorage" else f"attach(app{options})")


def script(*steps: str) -> str:
    return "\n".join((BEGIN, *map(for_this_library, steps)))


@pytest.fixture
def bot(tmp_path: Path) -> Path:
    """The bot's directory."""
    for name in ("sessions", "own"):
        (tmp_path / "bot" / name).mkdir(parents=True)
    return tmp_path / "bot"


@pytest.mark.parametrize("what", FILES)
def test_a_file(daemon: Daemon, bot: Path, what: str) -> None:
    if shutil.which("systemd-escape") is None:
        pytest.skip("systemd-escape is not there")
    move = MOVES[what]
    command = move.command.replace("sudo install -m 600 -o gramd -g gramd", "install -m 600")
    command = command.replace("/var/lib/gramd", str(daemon.data))
    copy = f"import subprocess\nsubprocess.run(['sh', '-c', {command!r}], check=True)"
    assert run(script(move.before, LOG_IN, copy, move.after, LOOK), bot).endswith("True 50\n")
    with gramd.SyncClient() as client:
        assert len(client.sessions()) == 1


def test_in_memory(daemon: Daemon, bot: Path) -> None:
    move = MOVES[MEMORY]
    assert run(script(move.before, LOG_IN, move.after, LOOK), bot).endswith("False None\n")
    assert not list(daemon.data.glob("*.session"))


def test_a_session_string(daemon: Daemon, bot: Path) -> None:
    file, move = MOVES[FILES[0]], MOVES[STRING]
    assert run(script(file.before, LOG_IN, move.before, LOG_IN, move.after, LOOK), bot).endswith("True None\n")
    with gramd.SyncClient() as client, client.open("my_account", create=False) as session:
        assert session.info()["backend"] == "file"


def test_a_storage_of_its_own(daemon: Daemon, bot: Path) -> None:
    move = MOVES[OWN]
    assert run(script(move.before, LOG_IN, move.after, LOOK), bot).endswith("True None\n")


def test_every_row_is_run() -> None:
    ours = {what for what in MOVES if what.startswith("Telethon") == TELETHON}
    assert ours == {*FILES, MEMORY, STRING, OWN} | (set() if TELETHON else {MONGO})


MONGO = "Pyrofork on MongoDB"

CONNECT = """
from motor.motor_asyncio import AsyncIOMotorClient
connection = AsyncIOMotorClient({uri!r})
"""


@pytest.mark.skipif(MODEL != "pyrofork" or MODULE != "pyrogram", reason="only Pyrofork has a MongoStorage")
def test_mongodb(tmp_path: Path, bot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move = MOVES[MONGO]
    with mongo.served(tmp_path) as uri:
        name = mongo.session_name()
        running = Daemon(tmp_path, "--mongo", uri)
        running.start()
        monkeypatch.setenv("GRAMD_SOCKET", running.socket)
        code = script(CONNECT.format(uri=uri), move.before, LOG_IN, move.after, LOOK).replace("my_account", name)
        path = f"{HERE}:{TREE}/client-lib/python"
        done = subprocess.run(
            [mongo.PROGRAM.parent / "python", "-c", code],  # it has Pyrofork and a driver of MongoDB
            cwd=bot,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.endswith("True 50\n"), done.stderr
        with gramd.SyncClient() as client, client.open(name, backend="mongo", create=False) as session:
            session.delete()
        running.stop()
