"""The daemon knows a repeated write by the client's id and the msgid: the id stays, and each request has a
msgid of its own."""

from __future__ import annotations

import asyncio

import pytest
from fake import AFTER, SILENT, FakeGramd

import gramd
from gramd import limits


def ids(fake: FakeGramd) -> list[bytes]:
    return [params[0]["id"] for method, params in fake.seen if method == "hello"]


def msgids(fake: FakeGramd, method: str) -> list[int]:
    return [msgid for each, msgid in fake.msgids if each == method]


async def test_a_request_keeps_its_msgid(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client, await client.open("a") as session:
        fake.faults = [("set", SILENT), ("update_states", AFTER)]
        await asyncio.gather(session.set(user_id=1), session.update_states([[1, 1, 1, 1, 1]]), session.save())
        first, again = msgids(fake, "set")
        assert first == again
        first, again = msgids(fake, "update_states")
        assert first == again
        one, again = ids(fake)
        assert one == again and len(one) == limits.ID_BYTES
        highest = max(msgid for _, msgid in fake.msgids)
        await session.save()
        assert msgids(fake, "save")[-1] > highest


async def test_each_client_has_another_id(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client, gramd.Client(fake.path) as other:
        await client.ping()
        await other.ping()
        one, another = ids(fake)
        assert one != another


async def test_another_id_when_the_msgids_are_used_up(fake: FakeGramd) -> None:
    async with fake, gramd.Client(fake.path) as client, await client.open("a") as session:
        while not client.quiet:  # `lease`
            await asyncio.sleep(0)
        client._last_msgid = 0x80000000
        await session.save()
        first, second = ids(fake)
        assert first != second and client._id == second
        assert msgids(fake, "save") == [2]  # `hello` was 1
        # not while a request would have to be repeated under the former id
        fake.faults = [("save", SILENT)]
        waiting = asyncio.ensure_future(session.save())
        await asyncio.sleep(0)
        client._last_msgid = 0x90000000
        await client.ping()
        assert len(ids(fake)) == 2 and client._last_msgid == 0x90000001
        # but when none is left
        client._last_msgid = 0xFFFFFFFF
        await session.set(user_id=1)
        assert len(set(ids(fake))) == 3 and msgids(fake, "set") == [2]
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


@pytest.mark.parametrize("remembers", [False, True])
async def test_no_more_is_unanswered_than_a_session_remembers(fake: FakeGramd, remembers: bool) -> None:
    fake.features = ["id"] if remembers else []
    async with fake, gramd.Client(fake.path) as client:
        hello = await client.hello()
        assert client._max_in_flight == hello["max_in_flight"]
        client._on_hello({**hello, "max_in_flight": 300})
        assert client._max_in_flight == (limits.REMEMBERED if remembers else 300)
