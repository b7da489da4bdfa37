from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

import mongo
from daemon import Daemon

LIBRARY = os.environ["GRAMD_LIBRARY"]

FAMILY = ["test_family.py", "test_client.py", "test_takeover.py", "test_drain.py", "test_settings.py"]

collect_ignore_glob = FAMILY if LIBRARY == "telethon" else ["test_telethon*.py"]


def pytest_configure(config: pytest.Config) -> None:
    """The libraries use deprecated functions: those warnings are no errors."""
    config.addinivalue_line("filterwarnings", "default::DeprecationWarning")


def pytest_pyfunc_call(pyfuncitem: Any) -> Optional[bool]:
    """Runs a coroutine test in an event loop of its own, with a time limit."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), 120))
    return True


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A running gramd; $GRAMD_SOCKET names its socket."""
    running = Daemon(tmp_path)
    running.start()
    monkeypatch.setenv("GRAMD_SOCKET", running.socket)
    yield running
    running.stop()


@pytest.fixture
def two_daemons(tmp_path: Path) -> Iterator[tuple[Daemon, Daemon]]:
    """Two daemons on one MongoDB deployment, which take each other for another host's. Their term is short."""
    with mongo.served(tmp_path) as uri:
        both = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            both.append(Daemon(tmp_path / name, "--backend", "mongo", "--mongo", uri, "--mongo-term", "4"))
            both[-1].start()
        yield both[0], both[1]
        for each in both:
            each.thaw()
            each.stop()


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", *arguments]
