"""Unsaved writes: `save` reports those that failed, and repeats them unless newer ones replace them."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

import gramd
from gramd.request import Outcome
from gramd.unsaved import Unsaved

OLD, NEW = (1, 1, "user", "old", None), (1, 2, "user", "new", None)


class Puppet:
    """A session whose requests are answered by the test."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.client = SimpleNamespace(loop=loop, together=contextlib.nullcontext)
        self.name, self.ended, self.cache = "acc", None, None
        self.asked: list[tuple[Any, Outcome]] = []

    def send_peers(self, rows: Any, outcome: Outcome) -> None:
        self.asked.append((rows, outcome))

    send_states = send_names = send_files = send_peers

    def send_save(self, outcome: Outcome) -> None:
        self.asked.append(("save", outcome))

    def take(self) -> list[Any]:
        return [self.asked.pop(0) for _ in range(len(self.asked))]


def saving(unsaved: Unsaved) -> Outcome:
    told = Outcome(lambda _: None)
    unsaved.save(told)
    return told


@pytest.mark.parametrize("put", ["put_peers", "put_state"])
async def test_a_failed_write_does_not_replace_a_newer_one(put: str) -> None:
    session = Puppet()
    unsaved = Unsaved(session, session)  # type: ignore[arg-type]

    def write(row: Any) -> None:
        getattr(unsaved, put)([row] if put == "put_peers" else row)

    write(OLD)
    saved = saving(unsaved)
    write(NEW)
    again = saving(unsaved)
    (old, first), (_, _save), (new, second), (_, _again) = session.take()
    assert (old, new) == ([OLD], [NEW])
    for outcome in (second, _save, _again):
        outcome.set_result(None)
    first.set_exception(gramd.Storage("the disk was full"))
    assert isinstance(saved.error, gramd.Storage) and isinstance(again.error, gramd.Storage)
    assert saving(unsaved).error is None
    assert [rows for rows, _ in session.take()] == ["save"]  # nothing is sent again


async def test_save_repeats_failed_writes() -> None:
    session = Puppet()
    unsaved = Unsaved(session, session)  # type: ignore[arg-type]
    unsaved.put_peers([OLD])
    await asyncio.sleep(0)
    [(_, outcome)] = session.take()
    outcome.set_exception(gramd.Unavailable("away"))
    saved = saving(unsaved)
    (rows, outcome), (_, save) = session.take()
    assert rows == [OLD]
    outcome.set_result(None)
    save.set_result(None)
    assert saved.done() and saved.error is None


async def test_save_reports_refused_writes_once() -> None:
    session = Puppet()
    unsaved = Unsaved(session, session)  # type: ignore[arg-type]
    unsaved.put_peers([OLD])
    await asyncio.sleep(0)
    [(_, outcome)] = session.take()
    outcome.set_exception(gramd.BadRequest("no row"))
    for expected in (gramd.BadRequest, type(None)):
        saved = saving(unsaved)
        [(_, save)] = session.take()
        save.set_result(None)
        assert saved.done() and isinstance(saved.error, expected)
