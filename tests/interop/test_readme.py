"""Runs the examples without a library of the package's README. Checks the table of libraries in the project's
README."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from conftest import LIBRARY
from daemon import Daemon
from readme import TREE, examples, run

HERE = Path(__file__).parent
TABLE = TREE / "README.md"


@pytest.mark.parametrize("code", examples("without a library"))
def test_the_examples_without_a_library(daemon: Daemon, tmp_path: Path, code: str) -> None:
    assert "username='someone'" in run(code, tmp_path)


def test_the_example_of_keys_and_values(daemon: Daemon, tmp_path: Path) -> None:
    [code] = examples("keys and values of your own")
    assert run(code, tmp_path).splitlines()[-1] == "bot:state:7 b'asked'"


def test_the_table_has_the_tested_versions() -> None:
    rows = re.findall(r"^\| (\w+) \| (\d\S+) \|", TABLE.read_text(), flags=re.M)
    pinned = [line.split()[1] for line in (HERE / "libraries.txt").read_text().splitlines() if line[0] != "#"]
    assert [f"{library.lower()}=={number}" for library, number in rows] == pinned
    assert f"{LIBRARY}=={version(LIBRARY)}" in pinned
