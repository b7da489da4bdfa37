"""Telethon's writes, which do not wait for the disk before `save`."""

from __future__ import annotations

import time
from typing import Any

import gramd
import pytest
from gramd.telethon import GramdSession
from telethon.tl import types

from daemon import Daemon
from offline_telethon import met, state, user


def stored() -> dict[int, Any]:
    with gramd.SyncClient() as client, client.open("acc") as raw:
        return {peer.id: peer for peer in raw.scan_peers()}


def test_writes_do_not_wait(daemon: Daemon) -> None:
    session = GramdSession("acc")
    session.process_entities(met(user(1, username="old")))
    session.save()
    daemon.freeze()
    session.process_entities(met(user(1, username="new"), user(2)))
    session.process_entities(met(user(1, username="old")))
    session.process_entities(met(user(2, username="name")))
    session.set_update_state(0, state(5))
    session.set_update_state(0, state(6))
    assert session.get_input_entity(2) == types.InputPeerUser(2, 20)
    daemon.thaw()
    assert [session.get_input_entity(name).user_id for name in ("old", "name")] == [1, 2]
    assert session.get_update_state(0).pts == 6
    session.close()
    assert {n: peer.username for n, peer in stored().items()} == {1: "old", 2: "name"}


def test_save_reports_failed_writes_and_the_next_one_repeats_them(daemon: Daemon) -> None:
    session = GramdSession("acc", timeout=2)
    session.process_entities(met(user(1), user(2)))
    session.save()
    daemon.kill()
    session.process_entities(met(user(2, username="sooner"), user(3)))
    session.set_update_state(0, state(7))
    with pytest.raises(gramd.TimedOut):
        session.save()
    session.process_entities(met(user(2, username="later")))
    daemon.start()
    session.save()
    assert {n: peer.username for n, peer in stored().items()} == {1: None, 2: "later", 3: None}
    assert session.get_update_state(0).pts == 7
    session.close()


def test_unsent_rows_are_bounded(daemon: Daemon) -> None:
    session = GramdSession("acc", timeout=2)
    session.save()
    session.process_entities(met(user(1)))
    daemon.freeze()
    with pytest.raises(gramd.TimedOut):
        for first in range(1, 100_000, 1000):
            session.process_entities([user(n) for n in range(first, first + 1000)])
    daemon.thaw()
    assert first < 20_000
    session.save()
    session.close()
    assert stored().keys() == set(range(1, 1001))  # scan_peers answers at most 1000
    with gramd.SyncClient() as client, client.open("acc") as raw:
        assert raw.info()["peers"] == first + 999


def test_an_ended_session_refuses_writes(daemon: Daemon) -> None:
    session = GramdSession("acc", on_lost=lambda: None)
    session.process_entities(met(user(1)))
    with gramd.SyncClient() as client:
        client.open("acc").delete()
    give_up = time.monotonic() + 10
    with pytest.raises(gramd.NotFound):
        while time.monotonic() < give_up:
            session.process_entities(met(user(2)))
    with pytest.raises(gramd.NotFound):
        session.set_update_state(0, state(1))
    session.close()
