"""No daemon at the socket, none that answers, or no right to connect: what the program is told, and when."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import pwd
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from fake import SILENT, FakeGramd, Refusal
from library import storage

import gramd
from gramd import caller, family, paths, unreachable
from gramd.caller import Caller

USER, GROUP = pwd.getpwnam("daemon"), grp.getgrnam("adm")

NEVER = 3600
"""Seconds: a test that waits so long fails."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def leave_socket(path: str) -> None:
    """As a daemon that was killed leaves it."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)


# ---- nobody listens ----


async def test_no_socket(fake: FakeGramd, caplog: pytest.LogCaptureFixture) -> None:
    async with gramd.Client(fake.path, timeout=0.05) as client:
        with pytest.raises(gramd.Unreachable) as caught:
            await client.ping()
    assert isinstance(caught.value, gramd.TimedOut) and isinstance(caught.value, TimeoutError)
    assert lines(caplog) == [str(caught.value)]
    for part in (fake.path, "the parameter `socket`", "No such file", f"gramd --socket {fake.path}"):
        assert part in str(caught.value)


async def test_a_daemon_that_comes_late(fake: FakeGramd, caplog: pytest.LogCaptureFixture) -> None:
    async with gramd.Client(fake.path, timeout=NEVER) as client:
        waiting = asyncio.ensure_future(client.ping(7))
        await until(lambda: lines(caplog))  # long before the timeout
        leave_socket(fake.path)
        await until(lambda: len(lines(caplog)) > 1)
        os.unlink(fake.path)
        assert not waiting.done()
        async with fake:
            assert await waiting == 7
    first, second = lines(caplog)
    assert "No such file" in first and "Connection refused" in second


async def test_each_outage_has_a_line(fake: FakeGramd, caplog: pytest.LogCaptureFixture) -> None:
    async with gramd.Client(fake.path, timeout=NEVER) as client:
        async with fake:
            session = await client.open("a")
        for number in (1, 2):
            reading = asyncio.ensure_future(session.get("dc_id"))
            await until(lambda: len(lines(caplog)) == number)  # noqa: B023
            async with fake:
                assert await reading == [2]


@pytest.mark.parametrize(
    ("origin", "advice"),
    [
        (paths.ENVIRONMENT, "correct $GRAMD_SOCKET"),
        (paths.OWN, "systemctl --user start gramd"),
        (paths.SYSTEM, "systemctl start gramd"),
    ],
)
async def test_the_line_says_where_the_path_came_from(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    origin: str,
    advice: str,
) -> None:
    path = str(tmp_path / "gramd.sock")
    leave_socket(path)
    monkeypatch.delenv("GRAMD_SOCKET", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if origin == paths.ENVIRONMENT:
        monkeypatch.setenv("GRAMD_SOCKET", path)
    elif origin == paths.OWN:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    else:
        monkeypatch.setattr(paths, "SYSTEM_SOCKET", path)
    it = storage(family.Storage, FakeGramd(""), timeout=0.05)  # no parameter names the socket
    with pytest.raises(gramd.Unreachable) as caught:
        await it.open()
    assert f"{path} ({origin}): Connection refused" in str(caught.value) and advice in str(caught.value)
    assert lines(caplog) == [str(caught.value)]


def test_the_blocking_client(fake: FakeGramd) -> None:
    with (
        gramd.SyncClient(fake.path, timeout=0.05) as client,
        pytest.raises(gramd.Unreachable, match="No such"),
    ):
        client.ping()


# ---- who listens does not answer ----


async def test_no_answer_to_hello(
    fake: FakeGramd, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unreachable, "HELLO_WAIT", 0.01)
    async with fake, gramd.Client(fake.path, timeout=0.1) as client:
        fake.faults = [("hello", SILENT), ("ping", SILENT), ("ping", SILENT)]
        patient = asyncio.ensure_future(client.call("ping", 1, timeout=NEVER))
        await until(lambda: lines(caplog))
        with pytest.raises(gramd.Unreachable, match="does not answer") as caught:
            await client.ping(2)
        assert lines(caplog) == [str(caught.value)] and fake.path in str(caught.value)
        patient.cancel()


@pytest.mark.parametrize("refused", [False, True])
async def test_a_daemon_that_has_answered_hello(
    fake: FakeGramd, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    monkeypatch.setattr(unreachable, "HELLO_WAIT", 0.01)
    async with fake, gramd.Client(fake.path, timeout=0.1) as client:
        fake.faults = [("hello", Refusal("storage"))] * refused + [("ping", SILENT)]
        with pytest.raises(gramd.TimedOut) as caught:
            await client.ping()
        assert type(caught.value) is gramd.TimedOut and not lines(caplog)


@pytest.mark.parametrize(
    "refusal", [b"", msgpack.packb([1, 0, ["overloaded", "too many connections", None], None])]
)
async def test_who_ends_each_connection_is_not_asked_again_at_once(
    fake: FakeGramd, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, refusal: bytes
) -> None:
    monkeypatch.setattr(caller, "FIRST_DELAY", NEVER)
    accepted = []

    def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        writer.write(refusal)
        writer.close()

    server = await asyncio.start_unix_server(end, fake.path)
    async with server, gramd.Client(fake.path, timeout=NEVER) as client:
        asking = asyncio.ensure_future(client.ping())
        await until(lambda: client._retry is not None or len(accepted) > 1)
        with pytest.raises(gramd.Unreachable) as caught:
            await client.call("ping", None, timeout=0.01)
        assert len(accepted) == 1 and fake.path in str(caught.value)
        assert not refusal or (lines(caplog) == [str(caught.value)] and "too many" in str(caught.value))
        asking.cancel()


# ---- no right to connect ----


@contextlib.contextmanager
def acting_as(uid: int, gid: int, groups: list[int]) -> Iterator[None]:
    former = os.getgroups()
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(former)


@pytest.fixture
def reachable(tmp_path: Path) -> str:
    """The path for a socket, in directories that everybody may search."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == 0 and not directory.stat().st_mode & 1:
            directory.chmod(0o755)
    return str(tmp_path / "gramd.sock")


async def refusal(path: str, caplog: pytest.LogCaptureFixture, groups: list[int]) -> str:
    with acting_as(USER.pw_uid, USER.pw_gid, groups):
        async with gramd.Client(path, timeout=NEVER) as client:
            with pytest.raises(gramd.Unreachable) as caught:
                await client.ping()
            with pytest.raises(gramd.Unreachable):
                await client.open("a")
    assert lines(caplog) == [str(caught.value)]
    return str(caught.value)


@as_root
async def test_a_socket_for_a_group(reachable: str, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeGramd(reachable):
        os.chmod(reachable, 0o660)
        os.chown(reachable, 0, GROUP.gr_gid)
        said = await refusal(reachable, caplog, [])
    for part in (reachable, "Permission denied", "for the group adm", "usermod -aG adm daemon"):
        assert part in said
    assert "SupplementaryGroups=adm" in said


@as_root
async def test_a_group_that_the_program_has_not_yet(
    reachable: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getgrouplist", lambda user, gid: [gid, GROUP.gr_gid])
    async with FakeGramd(reachable):
        os.chmod(reachable, 0o660)
        os.chown(reachable, 0, GROUP.gr_gid)
        assert "log in again, or restart" in await refusal(reachable, caplog, [])


@as_root
async def test_a_member_of_the_group(reachable: str) -> None:
    async with FakeGramd(reachable):
        os.chmod(reachable, 0o660)
        os.chown(reachable, 0, GROUP.gr_gid)
        with acting_as(USER.pw_uid, USER.pw_gid, [GROUP.gr_gid]):
            async with gramd.Client(reachable) as client:
                assert await client.ping(3) == 3


@as_root
async def test_a_socket_for_its_owner(reachable: str, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeGramd(reachable):
        os.chmod(reachable, 0o600)
        said = await refusal(reachable, caplog, [GROUP.gr_gid])
    assert f"the socket {reachable}, 0600 of root:root, keeps daemon out; run this program as root" in said


@as_root
async def test_a_directory_in_the_way(reachable: str, caplog: pytest.LogCaptureFixture) -> None:
    inner = Path(reachable).parent / "run" / "gramd"
    inner.mkdir(parents=True)
    async with FakeGramd(str(inner / "gramd.sock")):
        inner.parent.chmod(0o750)
        os.chown(inner.parent, 0, GROUP.gr_gid)
        said = await refusal(str(inner / "gramd.sock"), caplog, [])
    assert f"the directory {inner.parent} is for the group adm" in said


async def test_a_daemon_that_is_about_to_open_its_socket(
    fake: FakeGramd, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [PermissionError(13, "Permission denied")]
    connect = Caller._open_connection

    async def open_connection(client: Caller) -> Any:
        if refusals:
            raise refusals.pop()
        return await connect(client)

    monkeypatch.setattr(Caller, "_open_connection", open_connection)
    async with fake, gramd.Client(fake.path) as client:
        assert await client.ping(5) == 5
    assert not refusals and not lines(caplog)


@as_root
async def test_a_right_that_is_given_back(reachable: str, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeGramd(reachable) as fake, gramd.Client(reachable, timeout=NEVER) as client:
        session = await client.open("a")
        with acting_as(USER.pw_uid, USER.pw_gid, []):
            fake.connections[0].transport.abort()
            with pytest.raises(gramd.Unreachable, match="Permission denied"):
                await session.get("dc_id")
        await until(lambda: session.handle is not None)
        assert await session.get("dc_id") == [2] and session.ended is None


# ---- Ctrl-C: scripts that interrupt themselves when the line is logged ----

HEAD = """
import asyncio, logging, os, signal, sys
import gramd
from gramd import family
from library import storage

signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests' shell may ignore it

class Path:
    path = sys.argv[1]

class Interrupt(logging.Handler):
    def emit(self, record):
        if sys.argv[2] == "thread":
            os.kill(os.getpid(), signal.SIGINT)
        else:  # not in the package's own code: the user's Ctrl-C comes while the event loop waits
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)

logging.getLogger("gramd").addHandler(Interrupt())
"""

RUNS = {
    "storage": (
        "loop",
        """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(storage(family.Storage, Path).open())
        """,
    ),
    "storage, loop closed": (
        "loop",
        """
        loop = asyncio.new_event_loop()
        it = storage(family.Storage, Path)
        try:
            loop.run_until_complete(it.open())
        finally:
            loop.close()
        """,
    ),
    "storage, then closed": (
        "loop",
        """
        loop = asyncio.new_event_loop()
        it = storage(family.Storage, Path)
        try:
            loop.run_until_complete(it.open())
        finally:
            it = None
        """,
    ),
    "client": (
        "loop",
        """
        async def main():
            async with gramd.Client(Path.path) as client:
                await asyncio.gather(client.open("a"), client.ping())

        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        """,
    ),
    "asyncio.run": (
        "loop",
        """
        async def main():
            async with gramd.Client(Path.path) as client:
                await client.open("a")

        asyncio.run(main())
        """,
    ),
    "blocking": (
        "thread",
        """
        with gramd.SyncClient(Path.path) as client:
            client.open("a")
        """,
    ),
}


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("kind", list(RUNS))
def test_interrupted_while_it_waits(fake: FakeGramd, kind: str, silent: bool) -> None:
    how, text = RUNS[kind]
    head = HEAD + ("gramd.unreachable.HELLO_WAIT = 0.01\n" if silent else "")
    packages = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with contextlib.ExitStack() as stack:
        if silent:
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(fake.path)
            listening.listen(16)
        done = subprocess.run(
            [sys.executable, "-c", head + textwrap.dedent(text), fake.path, how],
            env={**os.environ, "PYTHONPATH": packages},
            capture_output=True,
            text=True,
            timeout=60,
        )
    said = done.stderr
    assert said.rstrip().endswith("KeyboardInterrupt"), said
    for trace in ("Exception ignored", "never retrieved", "never awaited", "gramd.errors", "Error:"):
        assert trace not in said, said
    if how == "loop" and kind != "asyncio.run":  # else the program's own traceback ends where it waited
        assert f"{os.sep}gramd{os.sep}" not in said, said
