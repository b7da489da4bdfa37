"""Who listens at the socket: nothing is sent to another user's process. The kernel takes the listener's uid
in listen(2), so the fake daemon listens under the uid of the test."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from collections.abc import Iterator
from typing import Any, Optional

import pytest
from fake import FakeGramd, _Connection
from library import storage

import gramd
from gramd import family, trust

SOMEBODY, SOMEBODY_ELSE, OVERFLOW_UID = 61234, 61235, 65534

ROW = (1, 10, "user", "someone", "4912345")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a socket of another user")


def listen_as(fake: FakeGramd, uid: int) -> None:
    assert fake._server is not None
    for listening in fake._server.sockets:  # type: ignore[attr-defined]
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            os.seteuid(uid)
            try:
                same.listen(16)
            finally:
                os.seteuid(0)


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """All that has arrived at the fake daemon."""
    all_of_it: list[bytes] = []
    receive = _Connection.data_received

    def data_received(connection: _Connection, data: bytes) -> None:
        all_of_it.append(data)
        receive(connection, data)

    monkeypatch.setattr(_Connection, "data_received", data_received)
    return all_of_it


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("GRAMD_SERVER_UID", raising=False)
    yield


async def trusted(fake: FakeGramd, received: list[bytes], server_uid: Optional[int] = None) -> bool:
    received.clear()
    client = gramd.Client(fake.path, server_uid=server_uid)
    try:
        await client.ping()
        return True
    except gramd.Untrusted as error:
        await asyncio.sleep(0.05)
        assert not received
        assert "GRAMD_SERVER_UID" in str(error)
        return False
    finally:
        await client.close()


async def test_only_known_users_are_trusted(
    fake: FakeGramd, received: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake:
        assert await trusted(fake, received)
        listen_as(fake, SOMEBODY)
        assert not await trusted(fake, received)
        assert not await trusted(fake, received, SOMEBODY_ELSE)
        assert await trusted(fake, received, SOMEBODY)
        with pytest.raises(gramd.Untrusted, match=r"uid 61234.*uid 0,.*GRAMD_SERVER_UID=61234"):
            async with gramd.Client(fake.path) as client:
                await client.ping()
        monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
        assert await trusted(fake, received)


async def test_the_user_gramd_is_trusted(
    fake: FakeGramd, received: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pwd.struct_passwd(("gramd", "x", SOMEBODY, SOMEBODY, "", "/", ""))
    monkeypatch.setattr(pwd, "getpwnam", {"gramd": entry}.__getitem__)
    async with fake:
        listen_as(fake, SOMEBODY)
        assert await trusted(fake, received)
        listen_as(fake, SOMEBODY_ELSE)
        assert not await trusted(fake, received)


async def test_the_environment_names_a_user(
    fake: FakeGramd, received: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake:
        listen_as(fake, SOMEBODY)
        monkeypatch.setenv("GRAMD_SERVER_UID", str(SOMEBODY))
        assert await trusted(fake, received)
        assert not await trusted(fake, received, SOMEBODY_ELSE)  # the parameter comes first
        for wrong in ("61235", "x", "-1", "61234x", " 61234", "4294967295", "9" * 5000, "٣"):
            monkeypatch.setenv("GRAMD_SERVER_UID", wrong)
            assert not await trusted(fake, received)


async def test_the_overflow_uid_must_be_named(
    fake: FakeGramd, received: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake:
        listen_as(fake, OVERFLOW_UID)
        assert not await trusted(fake, received)
        monkeypatch.setattr(os, "geteuid", lambda: OVERFLOW_UID)
        assert not await trusted(fake, received)
        assert await trusted(fake, received, OVERFLOW_UID)


async def test_a_reconnection_looks_again(fake: FakeGramd, received: list[bytes]) -> None:
    async with fake, gramd.Client(fake.path) as client:
        session = await client.open("acc")
        received.clear()
        listen_as(fake, SOMEBODY)
        for connection in list(fake.connections):
            connection.transport.abort()
        await asyncio.sleep(0.02)
        with pytest.raises(gramd.Untrusted):
            await session.update_peers([ROW])
        assert not received
        listen_as(fake, 0)  # the right one is back
        while session.handle is None:
            await asyncio.sleep(0.01)
        await session.update_peers([ROW])


def test_the_blocking_client(fake: FakeGramd, received: list[bytes]) -> None:
    with fake.elsewhere():
        listen_as(fake, SOMEBODY)
        with gramd.SyncClient(fake.path) as client, pytest.raises(gramd.Untrusted):
            client.ping()
        assert not received
        with gramd.SyncClient(fake.path, server_uid=SOMEBODY) as client:
            assert client.ping(5) == 5


async def test_a_storage(fake: FakeGramd, received: list[bytes]) -> None:
    async with fake:
        listen_as(fake, SOMEBODY)
        with pytest.raises(gramd.Untrusted):
            await storage(family.Storage, fake, session_string="secret").open()
        assert not received
        it = storage(family.Storage, fake, server_uid=SOMEBODY)
        await it.open()
        await it.close()


def test_a_connection_that_is_none() -> None:
    """connect(2) does not wait where the listener's queue is full; asyncio takes that for a connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unconnected, pytest.raises(OSError):
        trust.check_server(unconnected, "path", None)


def test_abstract_sockets() -> None:
    name: Any = f"\0gramd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(name)
        os.seteuid(SOMEBODY)
        server.listen(1)
        os.seteuid(0)
        client.connect(name)
        with pytest.raises(gramd.Untrusted):
            trust.check_server(client, "@name", None)
        trust.check_server(client, "@name", SOMEBODY)
