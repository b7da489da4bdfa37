from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from fake import FakeGramd


def pytest_pyfunc_call(pyfuncitem: Any) -> Optional[bool]:
    """Runs a coroutine test in an event loop of its own, with a time limit."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), 120))
    return True


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeGramd]:
    """A daemon that is not started yet. `async with fake:` runs it; that may be repeated."""
    yield FakeGramd(str(tmp_path / "gramd.sock"))
