"""Runs the first conversation of the project's README, and the examples without a library of the package's. Checks the
project's table of libraries."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import gramd
import pytest

from conftest import LIBRARY
from daemon import Daemon
from readme import HERE, attached, commands, examples, run


@pytest.mark.parametrize("code", examples("without a library"))
def test_the_examples_without_a_library(daemon: Daemon, tmp_path: Path, code: str) -> None:
    assert "username='someone'" in run(code, tmp_path)


def test_the_example_of_keys_and_values(daemon: Daemon, tmp_path: Path) -> None:
    [code] = examples("keys and values of your own")
    assert run(code, tmp_path).splitlines()[-1] == "bot:state:7 b'asked'"


def test_the_first_conversation(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "build").symlink_to(os.environ["BUILD"])
    with gramd.SyncClient() as client, client.open("other") as session:
        session.set(api_id=1, test_mode=False, auth_key=bytes(256), user_id=777, is_bot=False)
        (tmp_path / "session-string.txt").write_text(session.export_string())

    def shell(code: str) -> str:
        return subprocess.run(["sh", "-ec", code], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    gramctl, raw = commands("a first conversation")
    assert "user_id         777\n" in shell(gramctl)
    assert (tmp_path / "my_account.txt").read_text()
    code, answer = raw.rstrip().rsplit("\n", 1)
    assert shell(code) == f"{answer}\n"


def test_the_table_has_the_tested_versions() -> None:
    rows = [f"{row.library}=={row.version}" for row in attached()]
    pinned = [line.split()[1] for line in (HERE / "libraries.txt").read_text().splitlines() if line[0] != "#"]
    forks = [line.split()[1] for line in (HERE / "forks.txt").read_text().splitlines() if line[0] != "#"]
    assert rows[: len(pinned)] == pinned
    assert set(rows[len(pinned) :]) <= set(forks)
    assert f"{LIBRARY}=={version(LIBRARY)}" in pinned
