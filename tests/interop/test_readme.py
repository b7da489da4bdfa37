"""Runs the examples of the package's README as they are written, with Telegram's side replaced. Checks the table of
libraries in the project's README."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import gramd
import pytest

from conftest import LIBRARY, python
from daemon import Daemon

HERE = Path(__file__).parent
TREE = HERE.parent.parent
EXAMPLES = TREE / "client-lib" / "python" / "README.md"
TABLE = TREE / "README.md"

OFFLINE = """
import sys
sys.path.insert(0, {here!r})
import offline_telethon, telethon
offline_telethon.patch()
telethon.TelegramClient.run_until_disconnected = telethon.TelegramClient.disconnect
""" if LIBRARY == "telethon" else """
import importlib, sys
sys.path.insert(0, {here!r})
import offline
offline.patch()
async def at_once():
    pass
importlib.import_module(f"{{offline.lib.__name__}}.methods.utilities.run").idle = at_once
"""  # fmt: skip


def examples(heading: str) -> list[str]:
    """The Python code blocks under a heading."""
    section = re.split(r"^#+ ", EXAMPLES.read_text(), flags=re.M)
    [text] = [each for each in section if each.split("\n", 1)[0].lower() == heading]
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)


def run(code: str, directory: Path) -> str:
    """Runs code as a script of its own and returns its output."""
    script = directory / "bot.py"
    script.write_text(code)
    done = subprocess.run(python(str(script)), cwd=directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_of_this_library(daemon: Daemon, tmp_path: Path) -> None:
    [code] = examples(LIBRARY)
    assert len([line for line in code.splitlines() if line]) == 5
    with gramd.SyncClient() as client:
        with client.open("my_account", dialect=LIBRARY) as session:
            session.set(
                api_id=12345, dc_id=2, test_mode=False, auth_key=bytes(range(256)), user_id=777, is_bot=False
            )
        run(OFFLINE.format(here=str(HERE)) + code, tmp_path)
        with client.open("my_account", create=False) as session:
            assert session.get_peer_by_id(777).access_hash == 7770
            assert session.get("date")[0] > 0
    assert not list(tmp_path.glob("*.session"))


@pytest.mark.parametrize("code", examples("without a library"))
def test_the_examples_without_a_library(daemon: Daemon, tmp_path: Path, code: str) -> None:
    assert "username='someone'" in run(code, tmp_path)


def test_the_table_has_the_tested_versions() -> None:
    rows = re.findall(r"^\| (\w+) \| (\d\S+) \|", TABLE.read_text(), flags=re.M)
    pinned = [line.split()[1] for line in (HERE / "libraries.txt").read_text().splitlines() if line[0] != "#"]
    assert [f"{library.lower()}=={number}" for library, number in rows] == pinned
    assert f"{LIBRARY}=={version(LIBRARY)}" in pinned
