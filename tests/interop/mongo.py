"""SecantusDB, a server with MongoDB's protocol, on a free port and with its files in the test's directory.
`make mongo-servers` fetches it. If $GRAMD_TEST_MONGO_URI is set, the deployment there is used instead."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(os.environ["VENVS"]) / "mongo" / "bin" / "secantusd-py"
DEADLINE = 60.0


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    """The URI of a running server."""
    foreign = os.environ.get("GRAMD_TEST_MONGO_URI")
    if foreign:
        yield foreign
        return
    if not os.access(PROGRAM, os.X_OK):
        pytest.skip("SecantusDB is not there: `make mongo-servers` fetches it")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(directory / "mongo.log", "wb") as log:
        address = ["--host", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(
            [PROGRAM, *address, "--storage-path", directory / "mongo"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        until = time.monotonic() + DEADLINE
        while True:
            assert server.poll() is None and time.monotonic() < until, (directory / "mongo.log").read_text()
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield f"mongodb://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def session_name() -> str:
    """A new name: the deployment may hold the sessions of earlier runs."""
    return f"interop-{os.getpid()}-{time.time_ns()}"
