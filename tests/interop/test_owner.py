"""The owner of a session, with the package's own client and a running daemon. Only root can be another user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gramd
import pytest

from daemon import Daemon


@contextmanager
def as_user(name: str) -> Iterator[None]:
    """Who connects meanwhile is this user for the daemon."""
    os.seteuid(pwd.getpwnam(name).pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def let_everybody_in(daemon: Daemon) -> None:
    os.chmod(daemon.socket, 0o666)
    for each in Path(daemon.socket).parents:
        if not each.stat().st_mode & 0o001:
            each.chmod(0o711)


async def test_chown(daemon: Daemon) -> None:
    async with gramd.Client() as client, await client.open("acc") as session:
        assert (await session.info())["owner"] == pwd.getpwuid(os.geteuid()).pw_name
        await session.chown("bin:daemon")
        assert (await session.info())["owner"] == "bin:daemon"
        assert [each["owner"] for each in await client.sessions("acc")] == ["bin:daemon"]
        for wrong in ("", "a:b:c", "no-such-user", "bin:no-such-group"):
            with pytest.raises(gramd.BadRequest):
                await session.chown(wrong)
        await session.chown("#54321")
        assert (await session.info())["owner"] == "#54321"
        await session.chown(None)
        assert "owner" not in await session.info()


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there is no other user to give a session to")
async def test_who_gets_a_session_and_who_loses_it(daemon: Daemon) -> None:
    let_everybody_in(daemon)
    async with gramd.Client() as root, gramd.Client() as user, await root.open("acc") as session:
        with as_user("daemon"):
            await user.hello()
        with pytest.raises(gramd.Denied):
            await user.open("acc")
        await session.chown("daemon")
        theirs = await user.open("acc")
        await theirs.set(dc_id=4)
        for other in ("bin", "root", None):
            with pytest.raises(gramd.Denied):
                await theirs.chown(other)
        await theirs.chown(f"#{pwd.getpwnam('daemon').pw_uid}")
        await session.chown("bin")
        with pytest.raises(gramd.Denied):
            await theirs.get("dc_id")
        assert isinstance(theirs.ended, gramd.Denied)
