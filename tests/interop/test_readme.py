"""Runs the examples without a library of the package's README. Checks the table of libraries in the project's
README."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from conftest import LIBRARY
from daemon import Daemon
from readme import HERE, attached, examples, run


@pytest.mark.parametrize("code", examples("without a library"))
def test_the_examples_without_a_library(daemon: Daemon, tmp_path: Path, code: str) -> None:
    assert "username='someone'" in run(code, tmp_path)


def test_the_example_of_keys_and_values(daemon: Daemon, tmp_path: Path) -> None:
    [code] = examples("keys and values of your own")
    assert run(code, tmp_path).splitlines()[-1] == "bot:state:7 b'asked'"


def test_the_table_has_the_tested_versions() -> None:
    rows = [f"{row.library}=={row.version}" for row in attached()]
    pinned = [line.split()[1] for line in (HERE / "libraries.txt").read_text().splitlines() if line[0] != "#"]
    forks = [line.split()[1] for line in (HERE / "forks.txt").read_text().splitlines() if line[0] != "#"]
    assert rows[: len(pinned)] == pinned
    assert set(rows[len(pinned) :]) <= set(forks)
    assert f"{LIBRARY}=={version(LIBRARY)}" in pinned
