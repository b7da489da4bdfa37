"""A server that speaks MongoDB's protocol, daemons on it, and a plain client of them, for the benchmarks of several
hosts. The server is SecantusDB, or the one in $GRAMD_TEST_MONGO_URI."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

TREE = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("BUILD", TREE / "build")).resolve()
VENVS = Path(os.environ.get("VENVS", TREE / "build" / "venvs")).resolve()


def use_python_of_the_lab() -> None:
    """Runs the program again with the Python that has the libraries."""
    python = VENVS / "mongo" / "bin" / "python"
    if Path(sys.executable) != python:
        os.environ["PYTHONPATH"] = str(TREE / "client-lib" / "python")
        os.execv(python, [python, *sys.argv])


def wait_for(address, process: subprocess.Popen) -> None:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    while process.poll() is None:
        with socket.socket(family) as probe:
            if probe.connect_ex(address) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args[0]} has ended with {process.returncode}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    """The processes, and a folder for their files."""

    def __enter__(self) -> Lab:
        self.scratch = tempfile.TemporaryDirectory()
        self.running: list[subprocess.Popen] = []
        self.uri = os.environ.get("GRAMD_TEST_MONGO_URI", "")
        if not self.uri:
            self.port = free_port()
            self.uri = f"mongodb://127.0.0.1:{self.port}"
            self.restart_server()
        return self

    def restart_server(self) -> subprocess.Popen:
        command = [VENVS / "mongo" / "bin" / "secantusd-py", "--host", "127.0.0.1", "--port", str(self.port)]
        server = self.start([*command, "--storage-path", f"{self.scratch.name}/db", "--log-level", "ERROR"])
        wait_for(("127.0.0.1", self.port), server)
        return server

    def start(self, command: list, log: Optional[Path] = None) -> subprocess.Popen:
        process = subprocess.Popen(command, stderr=log.open("a") if log else None)
        self.running.append(process)
        return process

    def daemon(self, name: str, *options: str) -> subprocess.Popen:
        command = [BUILD / "gramd", "--config", "/dev/null", "--socket", self.socket(name), "--log-level", "error"]
        log = Path(self.scratch.name) / f"{name}.log"
        process = self.start([*command, "--data", f"{self.scratch.name}/{name}", "--mongo", self.uri, *options], log)
        wait_for(self.socket(name), process)
        return process

    def socket(self, name: str) -> str:
        return f"{self.scratch.name}/{name}.sock"

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
            process.wait()
        self.scratch.cleanup()


class Refused(Exception):
    """An error answer. `code` is that of the contract."""

    def __init__(self, error: list) -> None:
        super().__init__(*error[:2])
        self.code = error[0]


class Client:
    """One connection. Requests may be under way at the same time."""

    @classmethod
    async def connect(cls, path: str) -> Client:
        client = cls()
        client.reader, client.writer = await asyncio.open_unix_connection(path)
        client.waiting = {}
        client.last = 0
        client.notifications = asyncio.Queue()
        client.task = asyncio.create_task(client.read())
        return client

    async def read(self) -> None:
        import msgpack

        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        while data := await self.reader.read(1 << 16):
            unpacker.feed(data)
            for message in unpacker:
                if message[0] == 2:
                    self.notifications.put_nowait(message[1:])
                    continue
                _, number, error, result = message
                answer = self.waiting.pop(number)
                if answer.done():
                    continue
                if error is None:
                    answer.set_result(result)
                else:
                    answer.set_exception(Refused(error))

    def call(self, method: str, *params: Any) -> asyncio.Future:
        import msgpack

        self.last += 1
        answer: asyncio.Future = asyncio.get_running_loop().create_future()
        self.waiting[self.last] = answer
        self.writer.write(msgpack.packb([0, self.last, method, list(params)]))
        return answer

    async def told(self, notification: str) -> list:
        """The parameters of the next notification of this name. Others before it are dropped."""
        while (message := await self.notifications.get())[0] != notification:
            pass
        return message[1]

    async def open(self, name: str, wait: Optional[float] = None) -> int:
        options: dict[str, Any] = {"backend": "mongo"}
        if wait is not None:
            options["wait"] = int(wait * 1000)
        return (await self.call("open", name, options))["session"]

    def close(self) -> None:
        self.task.cancel()
        self.writer.close()
