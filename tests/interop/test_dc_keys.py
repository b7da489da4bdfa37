"""Keys of other data centres in the key-value area."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3

import gramd
import pytest
from gramd.dc_keys import DataCentreKeys

from daemon import Daemon

MAIN, ONE, OTHER = (os.urandom(256) for _ in range(3))


async def test_a_key_is_kept_until_it_is_forgotten(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        keys = DataCentreKeys(session)
        await keys.keep(4, ONE)
        assert await keys.get(4) is None  # nobody is logged in
        await session.set(auth_key=MAIN, user_id=777)
        await keys.keep(4, ONE)
        await keys.keep(4, OTHER, test_mode=True)
    daemon.kill()
    daemon.start()
    async with gramd.Client() as client, await client.open("a") as session:
        keys = DataCentreKeys(session)
        assert await keys.get(4) == ONE and await keys.get(4, test_mode=True) == OTHER
        assert await keys.get(2) is None
        await keys.keep(4, OTHER)  # the first one stays
        await keys.forget(4, OTHER)
        assert await keys.get(4) == ONE
        await keys.forget(4, ONE)
        assert await keys.get(4) is None and await keys.get(4, test_mode=True) == OTHER


@pytest.mark.parametrize("login", [{"user_id": 778}, {"auth_key": OTHER}])
async def test_a_key_belongs_to_its_login(daemon: Daemon, login: dict[str, object]) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        keys = DataCentreKeys(session)
        await session.set(auth_key=MAIN, user_id=777)
        await keys.keep(2, ONE)
        await keys.keep(4, ONE)
        await session.set(**login)
        await keys.forget(4, ONE)
        assert await keys.get(4) is None and await session.kv_get(["dc_key:4"]) == [None]
        await keys.keep(2, OTHER)
        assert await keys.get(2) == OTHER


async def test_of_two_processes_one_keeps_its_key(daemon: Daemon) -> None:
    async with gramd.Client() as client, gramd.Client() as another:
        session, other = await client.open("a", cache=True), await another.open("a")
        await session.set(auth_key=MAIN, user_id=777)
        await asyncio.gather(DataCentreKeys(session).keep(4, ONE), DataCentreKeys(other).keep(4, OTHER))
        kept = await DataCentreKeys(other).get(4)
        assert kept in (ONE, OTHER) and await DataCentreKeys(session).get(4) == kept


async def test_what_is_no_key_is_forgotten(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        keys = DataCentreKeys(session)
        await session.set(auth_key=MAIN, user_id=777)
        await keys.keep(4, ONE)
        [kept] = await session.kv_get(["dc_key:4"])
        assert kept is not None
        for damaged in (b"", kept[:-1], kept + b"\0"):
            await session.kv_set([["dc_key:4", damaged]])
            assert await keys.get(4) is None and await session.kv_get(["dc_key:4"]) == [None]


async def test_without_a_session_nothing_is_found(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    async with gramd.Client() as client:
        session = await client.open("a")
        await session.set(auth_key=MAIN, user_id=777)
        keys = DataCentreKeys(session)
        await session.close()
        with caplog.at_level(logging.DEBUG):
            await keys.keep(4, ONE)
            await keys.keep(4, ONE)
            await keys.forget(4, ONE)
            assert await keys.get(4) is None
        warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert len(warnings) == 1 and "data centre 4 is not kept" in warnings[0].getMessage()


async def test_a_damaged_key_is_replaced(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("a") as session:
        await session.set(auth_key=MAIN, user_id=777)
        await DataCentreKeys(session).keep(4, ONE)
    daemon.stop()
    with contextlib.closing(sqlite3.connect(daemon.data / "a.session")) as db, db:
        db.execute("UPDATE gramd_kv SET value = 7")
    daemon.start()
    async with gramd.Client() as client, await client.open("a") as session:
        keys = DataCentreKeys(session)
        assert await keys.get(4) is None
        await keys.keep(4, OTHER)
        assert await keys.get(4) == OTHER


async def test_nobody_waits_for_a_daemon_that_is_away(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    async with gramd.Client(timeout=1) as client, await client.open("a") as session:
        await session.set(auth_key=MAIN, user_id=777)
        keys = DataCentreKeys(session)
        await keys.keep(4, ONE)
        daemon.kill()
        while session.handle is not None:
            await asyncio.sleep(0.005)
        with caplog.at_level(logging.DEBUG):
            assert await keys.get(4) is None
            await keys.keep(5, ONE)
            await keys.forget(4, ONE)
        said = [each.getMessage() for each in caplog.records if "data centre" in each.getMessage()]
        assert len(said) == 3 and all(line.endswith("the daemon is away") for line in said)
        daemon.start()
        await session.save()
        assert await keys.get(4) == ONE
