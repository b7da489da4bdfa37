"""What the two READMEs tell the author of a bot to write, and how it is run. Telegram's side is replaced."""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path
from typing import NamedTuple

from conftest import python
from own import TELETHON

HERE = Path(__file__).parent
TREE = HERE.parent.parent
PROJECT = TREE / "README.md"
PACKAGE = TREE / "client-lib" / "python" / "README.md"


def section(document: Path, heading: str) -> str:
    sections = re.split(r"^#+ ", document.read_text(), flags=re.M)
    [text] = [each for each in sections if each.split("\n", 1)[0].lower() == heading]
    return text


def examples(heading: str) -> list[str]:
    """The Python code blocks under a heading of the package's README."""
    return re.findall(r"^```python\n(.*?)^```", section(PACKAGE, heading), flags=re.M | re.S)


def commands(heading: str) -> list[str]:
    """The blocks of commands under a heading of the project's README."""
    return [textwrap.dedent(block) for block in re.findall(r"(?:^ {4}.*\n)+", section(PROJECT, heading), flags=re.M)]


class Attached(NamedTuple):
    """A row of the table of libraries in the project's README."""

    library: str
    version: str
    imports: str
    line: str


def attached() -> list[Attached]:
    rows = re.findall(r"^\| (\w+) \| (\d\S+) \| `(.+)` \| `(.+)` \|$", PROJECT.read_text(), flags=re.M)
    return [Attached(library.lower(), *row) for library, *row in rows]


class Move(NamedTuple):
    """A row of the table of moves: the line as it was, the new one, and the command that moves the file."""

    before: str
    after: str
    command: str


def moves() -> dict[str, Move]:
    rows = re.findall(r"^\| (.+) \| `-(.+)`<br>`\+(.+)` \| (?:`(sudo .+?)`)?.*\|$", PACKAGE.read_text(), flags=re.M)
    return {what: Move(*row) for what, *row in rows}


OFFLINE_TELETHON = """
import sys
sys.path.insert(0, {here!r})
import offline_telethon, telethon
offline_telethon.patch()
telethon.TelegramClient.run_until_disconnected = telethon.TelegramClient.disconnect
"""

OFFLINE_FAMILY = """
import importlib, sys
sys.path.insert(0, {here!r})
import offline
offline.patch()
async def at_once():
    pass
importlib.import_module(f"{{offline.lib.__name__}}.methods.utilities.run").idle = at_once
"""

OFFLINE = (OFFLINE_TELETHON if TELETHON else OFFLINE_FAMILY).format(here=str(HERE))
"""Comes before the code of a bot."""


def run(code: str, directory: Path) -> str:
    """Runs code as a script of its own and returns its output."""
    script = directory / "bot.py"
    script.write_text(code)
    done = subprocess.run(python(str(script)), cwd=directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
